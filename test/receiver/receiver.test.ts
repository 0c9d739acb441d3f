import { request } from 'undici';
import { describe, expect, it } from 'vitest';
import { systemClock } from '../../src/lib/clock.js';
import { startReceiver } from '../../src/receiver/receiver.js';

describe('the receiver', () => {
  it('answers even if the callback for the webhook throws', async () => {
    const receiver = await startReceiver({
      listen: { host: '127.0.0.1', port: 0 },
      secrets: [],
      failures: [],
      clock: systemClock,
      onWebhook() {
        throw new Error('no place to print');
      },
      onError: () => undefined,
    });
    const url = `http://127.0.0.1:${receiver.address.port}/`;
    expect((await request(url, { method: 'POST', body: '{}' })).statusCode).toBe(204);
    await receiver.close();
  });
});
