/** Webhooks as the relay signs them, and as it would not: made by hand, not by the relay's code. */
import { createHmac, randomUUID } from 'node:crypto';
import { connect } from 'node:net';
import { bodiesOf } from '../../../src/payload/body.js';
import { anExpiration, aRoute, aWebhookInput, TEST_SECRET } from '../domain.js';

export interface SignedWebhook {
  readonly id: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

export function aBody(key = 'order:42:unpaid', params: Record<string, string> = {}): string {
  const buffers = Object.entries(params).map(([name, text]) => [name, Buffer.from(text)]);
  const expiration = anExpiration({ key: Buffer.from(key) });
  const input = aWebhookInput({ expiration, params: Object.fromEntries(buffers) });
  return String(bodiesOf(input)('msg_1'));
}

export function aCloudEvent(key = 'order:42:unpaid'): string {
  const expiration = anExpiration({ key: Buffer.from(key) });
  const format = { kind: 'cloudevents', source: '/expiry-relay/test' } as const;
  return String(bodiesOf(aWebhookInput({ expiration, route: aRoute({ format }) }))('msg_1'));
}

export function macOf(id: string, timestamp: string, body: string, secret = TEST_SECRET): string {
  const key = Buffer.from(secret.replace('whsec_', ''), 'base64');
  return createHmac('sha256', key).update(`${id}.${timestamp}.${body}`).digest('base64');
}

interface Given {
  readonly id?: string;
  readonly timestamp?: string;
  readonly body?: string;
  readonly contentType?: string;
  readonly secret?: string;
}

export function signed(given: Given = {}): SignedWebhook {
  const { id = `msg_${randomUUID()}`, timestamp = secondsFromNow(0), body = aBody() } = given;
  const headers = {
    'content-type': given.contentType ?? 'application/json',
    'webhook-id': id,
    'webhook-timestamp': timestamp,
    'webhook-signature': `v1,${macOf(id, timestamp, body, given.secret)}`,
  };
  return { id, headers, body };
}

export const secondsFromNow = (s: number) => String(Math.floor(Date.now() / 1000) + s);

/** The status of the answer. */
export async function post(url: string, { headers, body }: SignedWebhook): Promise<number> {
  const answer = await fetch(url, { method: 'POST', headers, body });
  await answer.arrayBuffer();
  return answer.status;
}

/** Sends the head and the beginning of the body, and closes the connection. */
export async function hangUpAmid(url: string, { headers, body }: SignedWebhook): Promise<void> {
  const { hostname, port, host, pathname } = new URL(url);
  const length = Buffer.byteLength(body);
  const lines = Object.entries({ host, 'content-length': length, ...headers });
  const head = [`POST ${pathname} HTTP/1.1`, ...lines.map(([name, value]) => `${name}: ${value}`)];
  await new Promise<void>((resolve, reject) => {
    const socket = connect(Number(port), hostname);
    socket.on('error', reject);
    socket.on('close', () => resolve());
    socket.write(`${head.join('\r\n')}\r\n\r\n${body.slice(0, 10)}`, () => socket.destroy());
  });
}
