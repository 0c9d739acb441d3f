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
  readonly headers: Readonly<Record<string, string>>;
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
  const configured = Object.entries(endpoint.headers).map(
    ([name, value]) => [name, value.reveal()] as const,
  );
  return {
    method: delivery.method,
    path: joinPath(endpoint.url, delivery.path),
    headers: {
      ...Object.fromEntries(configured),
      ...(delivery.contentType === null ? {} : { 'content-type': delivery.contentType }),
      'user-agent': USER_AGENT,
      ...sign(delivery.id, delivery.body, endpoint.secrets, nowMs),
    },
    body: delivery.body,
  };
}

/** A copy of the request, marked as a test. */
export function markAsTest(request: WebhookRequest): WebhookRequest {
  return { ...request, headers: { ...request.headers, [TEST_HEADER]: 'true' } };
}
