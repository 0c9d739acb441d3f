/** A webhook as the relay sends it, for what is compared with the relay. */
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

/**
 * Signs and POSTs over connections that are kept.
 * @param {string} url
 * @param {number} connections
 */
export function webhookSender(url, connections) {
  const pool = new Pool(url, { connections, pipelining: 1 });
  return {
    /**
     * Rejects unless it is accepted.
     * @param {{ id: string, path: string, body: Buffer }} webhook
     */
    async send({ id, path, body }) {
      const timestamp = String(Math.floor(Date.now() / 1000));
      const mac = createHmac('sha256', KEY).update(`${id}.${timestamp}.`).update(body);
      const headers = {
        'content-type': 'application/json',
        'webhook-id': id,
        'webhook-timestamp': timestamp,
        'webhook-signature': `v1,${mac.digest('base64')}`,
      };
      const answer = await pool.request({ method: 'POST', path, headers, body });
      await answer.body.dump();
      if (answer.statusCode >= 300) throw new Error(`answered ${answer.statusCode}`);
    },
    close: () => pool.close(),
  };
}
