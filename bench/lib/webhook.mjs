/** A webhook like the relay's, for the other sides of a comparison. */
import { createHmac } from 'node:crypto';
import { Pool } from 'undici';

export const SECRET = `whsec_${Buffer.alloc(32, 7).toString('base64')}`;

const KEY = Buffer.from(SECRET.slice('whsec_'.length), 'base64');

/** @param {string} key */
export function aBody(key) {
  const [, id] = key.split(':');
  return Buffer.from(
    `{"data":{"database":0,"detected_at":"2026-11-22T06:00:10.003Z","detected_by":"notification",` +
      `"expired_at":null,"key":"${key}","params":{"id":"${id}"},"route":"cancel-unpaid-order"},` +
      `"timestamp":"2026-11-22T06:00:10.003Z","type":"order.payment.expired"}`,
  );
}

/** The limit of one attempt, the relay's default. */
const TIME_LIMIT_MS = 15_000;

/**
 * @typedef {object} Webhook
 * @property {string} id
 * @property {string} path
 * @property {Buffer} body
 *
 * @typedef {object} Client
 * @property {(webhook: Webhook) => Promise<number>} post resolves with the status
 * @property {() => Promise<void>} close
 */

/** Both sign, and keep their connections. @type {Readonly<Record<string, (url: string, connections: number) => Client>>} */
const CLIENTS = {
  /** The usual client: Node's `fetch`, with a time limit. */
  fetch: (url) => ({
    async post(webhook) {
      const answer = await fetch(new URL(webhook.path, url), {
        method: 'POST',
        headers: signedHeaders(webhook),
        body: webhook.body,
        signal: AbortSignal.timeout(TIME_LIMIT_MS),
      });
      await answer.arrayBuffer();
      return answer.status;
    },
    close: async () => undefined,
  }),
  /** The fastest known client: connections of undici, without a time limit for the whole request. */
  pool(url, connections) {
    const pool = new Pool(url, { connections, pipelining: 1 });
    return {
      async post(webhook) {
        const { path, body } = webhook;
        const headers = signedHeaders(webhook);
        const answer = await pool.request({ method: 'POST', path, headers, body });
        await answer.body.dump();
        return answer.statusCode;
      },
      close: () => pool.close(),
    };
  },
};

export const CLIENT_NAMES = Object.keys(CLIENTS);

/** @param {Webhook} webhook */
function signedHeaders({ id, body }) {
  const timestamp = String(Math.floor(Date.now() / 1000));
  const mac = createHmac('sha256', KEY).update(`${id}.${timestamp}.`).update(body);
  return {
    'content-type': 'application/json',
    'webhook-id': id,
    'webhook-timestamp': timestamp,
    'webhook-signature': `v1,${mac.digest('base64')}`,
  };
}

/**
 * @param {string} url
 * @param {number} connections
 * @param {string} [client] one of CLIENT_NAMES
 */
export function webhookSender(url, connections, client = 'pool') {
  const open = CLIENTS[client];
  if (open === undefined) throw new Error(`expected a client, found "${client}"`);
  const { post, close } = open(url, connections);
  return {
    /**
     * Rejects unless it is accepted.
     * @param {Webhook} webhook
     */
    async send(webhook) {
      const status = await post(webhook);
      if (status >= 300) throw new Error(`answered ${status}`);
    },
    close,
  };
}
