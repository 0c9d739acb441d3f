/** The admin port for orchestrators and Prometheus. */
import { createServer } from 'node:net';
import type { Clock } from '../lib/clock.js';
import { listenOn } from '../lib/http-server.js';
import { messageOf } from '../model/errors.js';
import type { ReloadResult } from '../model/reload.js';
import type { ListenAddress, PageSettings } from '../model/vocabulary.js';
import type { AdminLimit } from '../telemetry/metric-labels.js';
import { Access } from './access.js';
import { Api } from './api.js';
import { Connections } from './connections.js';
import type { Answer, Request } from './http.js';
import { SharedText } from './shared-text.js';

/** A readiness condition; `problem` is null when the condition holds. */
export interface Check {
  readonly name: string;
  readonly problem: string | null;
  /** Information about a condition that holds. */
  readonly note?: string;
}

export interface AdminParts {
  readonly listen: ListenAddress;
  readonly checks: () => readonly Check[];
  /** Returns the current settings of the API. */
  readonly page: () => PageSettings;
  readonly reload: () => Promise<ReloadResult>;
  readonly metrics: () => Promise<string>;
  readonly metricsType: string;
  readonly clock: Clock;
  readonly connectionsMax: number;
  /** Called when the relay closed a connection that exceeded this limit. */
  readonly onClosed: (limit: AdminLimit) => void;
  /** Called when a connection could not be accepted. */
  readonly onError: (error: Error) => void;
}

export interface AdminServer {
  /** The listening address, with the actual port when the configuration has port 0. */
  readonly address: ListenAddress;
  close(): Promise<void>;
}

/** Rejects with ListenError when the address is unavailable. */
export async function startAdmin(parts: AdminParts): Promise<AdminServer> {
  const { checks, metricsType, clock, connectionsMax, onClosed, onError } = parts;
  const metrics = new SharedText(parts.metrics, clock);
  const metricsAnswer = () =>
    metrics.get().then((body): Answer => ({ status: 200, body, type: metricsType }), failed);
  let api: Api | null = null;
  const answer = (request: Request) => {
    try {
      if (api?.has(request)) return api.answer(request).catch(failed);
      return answerTo(request, checks, metricsAnswer);
    } catch (error) {
      return failed(error);
    }
  };
  const connections = new Connections({ clock, connectionsMax, answer, onClosed });
  // Half-open sockets: a client that half-closes after its request still gets the response.
  const server = createServer({ allowHalfOpen: true }, (socket) => connections.add(socket));
  const address = await listenOn(server, parts.listen, 'admin.listen', onError);
  const access = new Access({ page: parts.page, address, clock });
  api = new Api({ access, reload: parts.reload });
  return {
    address,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        connections.closeAll();
      }),
  };
}

function answerTo(
  { method, path, query }: Request,
  checks: AdminParts['checks'],
  metrics: () => Promise<Answer>,
): Answer | Promise<Answer> {
  if (method !== 'GET' && method !== 'HEAD') {
    const body = 'method not allowed: use GET or HEAD\n';
    return { status: 405, body, headers: { allow: 'GET, HEAD' } };
  }
  switch (path) {
    case '/livez':
    case '/healthz':
      return { status: 200, body: 'ok\n' };
    case '/readyz':
      return readiness(checks(), new URLSearchParams(query).has('verbose'));
    case '/metrics':
      return metrics();
    default:
      return { status: 404, body: 'not found: /livez, /readyz, /healthz, /metrics or /api/v1/…\n' };
  }
}

const failed = (error: unknown): Answer => ({ status: 500, body: `${messageOf(error)}\n` });

/** Prints a line per check on request, and whenever a check fails. */
function readiness(checks: readonly Check[], verbose: boolean): Answer {
  const ready = checks.every(({ problem }) => problem === null);
  const verdict = ready ? 'ok' : 'not ready';
  if (ready && !verbose) return { status: 200, body: 'ok\n' };
  const lines = checks.map(({ name, problem, note }) => {
    if (problem !== null) return `[-] ${name}: ${problem}`;
    return note === undefined ? `[+] ${name}: ok` : `[!] ${name}: ${note}`;
  });
  return { status: ready ? 200 : 503, body: `${[...lines, verdict].join('\n')}\n` };
}
