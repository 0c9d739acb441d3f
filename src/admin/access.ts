/**
 * Who may use the API of the admin port. A request is refused for the first of these reasons: the API is disabled, it is
 * open to other machines without credentials, the name of the host is unknown (DNS rebinding), a page of another site
 * sent it, the credentials are wrong, or it would change something and the API is read-only.
 */
import { createHash } from 'node:crypto';
import type { Clock } from '../lib/clock.js';
import { isLoopback } from '../lib/http-server.js';
import { Secret } from '../model/secret.js';
import type { ListenAddress, PageSettings } from '../model/vocabulary.js';
import { type Answer, headerOf, jsonAnswer, type Request } from './http.js';

/** Failures of an address until it has to wait, and for how long. */
const FAILURES_MAX = 5;
const ATTEMPT_EVERY_MS = 10_000;

/** Addresses whose failures are remembered; the oldest is forgotten first. */
const ADDRESSES_MAX = 1_000;

export interface AccessParts {
  /** Returns the current settings. */
  readonly page: () => PageSettings;
  /** Where the port listens. */
  readonly address: ListenAddress;
  readonly clock: Clock;
}

interface Failures {
  readonly count: number;
  /** When the last one was, by the monotonic clock. */
  readonly lastMs: number;
}

export class Access {
  readonly #parts: AccessParts;
  /** By the address of the client, those that failed first at the beginning. */
  readonly #failures = new Map<string, Failures>();

  constructor(parts: AccessParts) {
    this.#parts = parts;
  }

  /** The answer to a request that is refused; null: the request is allowed. */
  refuse(request: Request, isChange: boolean): Answer | null {
    const page = this.#parts.page();
    if (!page.enabled) return jsonAnswer(404, { error: 'not found: the API is disabled' });
    if (isClosed(page, this.#parts.address)) return forbid(CLOSED);
    return (
      refuseHost(request, page) ??
      (isChange ? refuseOrigin(request) : null) ??
      this.#refuseLogin(request, page) ??
      (isChange && page.readOnly ? forbid(READ_ONLY) : null)
    );
  }

  #refuseLogin({ head, client }: Request, { authorization }: PageSettings): Answer | null {
    if (authorization === null) return null;
    const given = basicOf(head);
    if (given === null) return UNAUTHORIZED;
    const nowMs = this.#parts.clock.monotonicMs();
    const { count, lastMs } = this.#failures.get(client) ?? { count: 0, lastMs: 0 };
    const waitMs = count < FAILURES_MAX ? 0 : lastMs + ATTEMPT_EVERY_MS - nowMs;
    if (waitMs > 0) {
      const error = `too many wrong logins: wait ${ATTEMPT_EVERY_MS / 1_000} s between two attempts`;
      const answer = jsonAnswer(429, { error });
      return { ...answer, headers: { 'retry-after': String(Math.ceil(waitMs / 1_000)) } };
    }
    this.#failures.delete(client);
    if (isSameText(authorization, given)) return null;
    this.#failures.set(client, { count: count + 1, lastMs: nowMs });
    for (const oldest of this.#failures.keys()) {
      if (this.#failures.size <= ADDRESSES_MAX) break;
      this.#failures.delete(oldest);
    }
    return UNAUTHORIZED;
  }
}

/** Whether other machines could use the API without credentials. It is then closed. */
export function isClosed({ authorization }: PageSettings, { host }: ListenAddress): boolean {
  return authorization === null && !isLoopback(host);
}

const CLOSED =
  'the API is closed: other machines can reach the admin port, and it has no credentials. Set admin.page.username and ' +
  'admin.page.password_file, or let admin.listen be an address such as 127.0.0.1:9464';

const READ_ONLY = 'the API is read-only: set admin.page.read_only to false to allow changes';

const forbid = (error: string): Answer => jsonAnswer(403, { error });

const UNAUTHORIZED: Answer = {
  ...jsonAnswer(401, {
    error: 'expected the user and password of admin.page, by HTTP basic authentication',
  }),
  headers: { 'www-authenticate': 'Basic realm="expiry-relay", charset="UTF-8"' },
};

/** A site whose name was made to lead to this machine sends its own name. */
function refuseHost({ head }: Request, { allowedHosts }: PageSettings): Answer | null {
  const name = hostnameOf(headerOf(head, 'host'));
  const isKnown = name !== null && (isLoopback(name) || allowedHosts.includes(name));
  if (isKnown) return null;
  return forbid(
    'the Host header names neither this machine (localhost, 127.0.0.1) nor a name in admin.page.allowed_hosts: add the ' +
      'name to that list',
  );
}

/**
 * A browser sends the origin of the page with each request that may change something. Other clients log in with each
 * request, which a page of another site cannot make a browser do without such an origin.
 */
function refuseOrigin({ head }: Request): Answer | null {
  const origin = headerOf(head, 'origin');
  if (origin === null) {
    const isClient = basicOf(head) !== null && headerOf(head, 'cookie') === null;
    if (isClient) return null;
    return forbid(
      'a request that changes something needs HTTP basic authentication, or an Origin header with the address of the ' +
        "admin port, such as curl -H 'Origin: http://127.0.0.1:9464'",
    );
  }
  const host = headerOf(head, 'host');
  const isSame =
    URL.canParse(origin) &&
    /^https?:$/.test(new URL(origin).protocol) &&
    URL.canParse(`http://${host}`) &&
    new URL(origin.replace(/^https/i, 'http')).host === new URL(`http://${host}`).host;
  if (isSame) return null;
  return forbid('the Origin header names another site than the Host header');
}

/** Without port and brackets, in lower case; null when it cannot be read. */
function hostnameOf(host: string | null): string | null {
  if (host === null || !URL.canParse(`http://${host}`)) return null;
  return new URL(`http://${host}`).hostname.replace(/^\[(.*)\]$/, '$1');
}

/** The value of Authorization for HTTP basic authentication; null when there is none. */
function basicOf(head: string): Secret | null {
  const [, credentials] = /^basic +(\S+)$/i.exec(headerOf(head, 'authorization') ?? '') ?? [];
  return credentials === undefined ? null : new Secret(`Basic ${credentials}`);
}

/** Compares digests: the time that it takes says nothing about the text. */
function isSameText(one: Secret, other: Secret): boolean {
  const digest = (text: string) => createHash('sha256').update(text).digest('hex');
  return one.derive(digest).equals(other.derive(digest));
}
