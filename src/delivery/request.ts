/** Builds the request of one attempt from a delivery. Pure: the time is an argument, too. */
import { USER_AGENT } from '../lib/version.js';
import type { Method } from '../model/body-format.js';
import type { Endpoint } from '../model/endpoint.js';
import type { Delivery } from '../model/vocabulary.js';
import { sign } from '../signing/sign.js';

/** Marks a test webhook, which no expiration has caused: `true`. */
export const TEST_HEADER = 'expiry-relay-test';

/** The request of one attempt, ready to send to `endpoint.url`'s origin. */
export interface WebhookRequest {
  readonly method: Method;
  /** Path and query, as written in the request line. */
  readonly path: string;
  /** Names in lower case and values in turn. */
  readonly headers: string[];
  readonly body: Buffer;
}

/** The endpoint's path and query, followed by the delivery's; the host cannot change. */
export function joinPath(url: URL, path: string): string {
  if (path === '') return url.pathname + url.search;
  const base = url.pathname.replace(/\/$/, '');
  if (url.search === '') return base + path;
  const [appended = '', query] = path.split('?', 2);
  return base + appended + url.search + (query === undefined ? '' : `&${query}`);
}

/** The request of an attempt made at `nowMs`. */
export function buildRequest(
  endpoint: Endpoint,
  delivery: Pick<Delivery, 'id' | 'method' | 'path' | 'contentType' | 'body'>,
  nowMs: number,
): WebhookRequest {
  const headers = [...fixedHeaders(endpoint)];
  if (delivery.contentType !== null) headers.push('content-type', delivery.contentType);
  const signed = sign(delivery.id, delivery.body, endpoint.secrets, nowMs);
  headers.push('webhook-id', signed['webhook-id']);
  headers.push('webhook-timestamp', signed['webhook-timestamp']);
  const signature = signed['webhook-signature'];
  if (signature !== undefined) headers.push('webhook-signature', signature);
  return {
    method: delivery.method,
    path: joinPath(endpoint.url, delivery.path),
    headers,
    body: delivery.body,
  };
}

/** The headers that all requests to a version of an endpoint have. */
const fixed = new WeakMap<Endpoint, readonly string[]>();

function fixedHeaders(endpoint: Endpoint): readonly string[] {
  let headers = fixed.get(endpoint);
  if (headers === undefined) {
    const configured = Object.entries(endpoint.headers);
    headers = [
      ...configured.flatMap(([name, value]) => [name, value.reveal()]),
      'user-agent',
      USER_AGENT,
    ];
    fixed.set(endpoint, headers);
  }
  return headers;
}

/** The headers of a request by name. */
export function headersByName({ headers }: WebhookRequest): Readonly<Record<string, string>> {
  const pairs = headers.flatMap((name, at) => (at % 2 === 0 ? [[name, headers[at + 1]]] : []));
  return Object.fromEntries(pairs);
}

/** A copy of the request, marked as a test. */
export function markAsTest(request: WebhookRequest): WebhookRequest {
  return { ...request, headers: [...request.headers, TEST_HEADER, 'true'] };
}
