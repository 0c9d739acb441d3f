/** Stopping: attempts in progress are finished, and the process exits within the grace period. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, expect, it } from 'vitest';
import { eventually } from '../support/eventually.js';
import { RelayProcess, simpleFile } from '../support/relay-process.js';
import { sharedRedis } from '../support/shared-redis.js';
import { TestReceiver } from '../support/test-receiver.js';

const shared = sharedRedis();

const expire = (...keys: string[]) =>
  Promise.all(keys.map((key) => shared.client.set(key, '', 'PX', 10)));

/** A receiver that answers when a test lets it. */
async function waitingReceiver() {
  const receiver = await TestReceiver.start();
  let answer = () => {};
  receiver.respond = (_, response) => {
    answer = () => response.writeHead(204).end();
  };
  return {
    receiver,
    answer: () => answer(),
    [Symbol.asyncDispose]: () => receiver[Symbol.asyncDispose](),
  };
}

describe('SIGTERM', () => {
  it('lets an attempt in progress end, takes no new expirations, and exits 0', async () => {
    await using waiting = await waitingReceiver();
    const { receiver } = waiting;
    await using relay = await RelayProcess.start(simpleFile(shared.server.url, receiver.url));
    await expire('slow');
    await eventually('the attempt', () => receiver.requests.length === 1);
    relay.kill('SIGTERM');
    await relay.logged('stopping');
    await eventually('not ready', async () => (await relay.get('/readyz')).status === 503);
    expect((await relay.get('/livez')).status).toBe(200);
    await expire('too-late');
    expect(relay.running).toBe(true);
    waiting.answer();
    expect(await relay.exited).toEqual({ code: 0, signal: null });
    expect(relay.logs('attempt')).toMatchObject([{ key: 'slow', outcome: 'accepted' }]);
    expect(relay.logs('stopped')).toMatchObject([{ undelivered: 0 }]);
    expect(receiver.keys).toEqual(['slow']);
  });

  it.each(['SIGINT', 'SIGQUIT'] as const)('is not the only one: %s stops as well', async (name) => {
    await using receiver = await TestReceiver.start();
    await using relay = await RelayProcess.start(simpleFile(shared.server.url, receiver.url));
    expect(await relay.stop(name)).toEqual({ code: 0, signal: null });
    expect(relay.logs('stopping')).toHaveLength(1);
    expect(relay.logs('stopped')).toMatchObject([{ undelivered: 0 }]);
  });

  it('loses no line that was logged just before a second one', async () => {
    // Sends the second in the same turn, before the log lines of the first are written.
    const twice = `process.once('SIGUSR2', async () => {
      process.emit('SIGTERM', 'SIGTERM');
      for (let n = 0; n < 50; n += 1) await null;
      process.emit('SIGTERM', 'SIGTERM');
    })`;
    const env = { NODE_OPTIONS: `--import data:text/javascript,${encodeURIComponent(twice)}` };
    const file = simpleFile(shared.server.url, 'http://127.0.0.1:9/');
    await using relay = await RelayProcess.start(file, env);
    expect(await relay.stop('SIGUSR2')).toEqual({ code: 1, signal: null });
    expect(relay.logs('stopping')).toHaveLength(1);
  });

  it('delivers the deliveries in memory before it exits', async () => {
    await using receiver = await TestReceiver.start();
    const held: (() => void)[] = [];
    receiver.respond = (_, response) => void held.push(() => response.writeHead(204).end());
    await using relay = await RelayProcess.start(
      simpleFile(shared.server.url, receiver.url, {
        state: { kind: 'memory' },
        endpoint: { concurrency: 1 },
      }),
    );
    await expire('a', 'b', 'c');
    await eventually('all three are captured', async () => {
      return (await relay.metric('expiry_relay_outbox_pending{endpoint="shop"}')) === 3;
    });
    relay.kill('SIGTERM');
    await relay.logged('stopping');
    for (let answered = 0; answered < 3; answered += 1) {
      const answer = await eventually('the next attempt', () => held[answered]);
      answer();
    }
    expect((await relay.exited).code).toBe(0);
    expect(receiver.keys.sort()).toEqual(['a', 'b', 'c']);
  });

  it.each([
    ['is kept in Redis', {}, { level: 'info', undelivered: 0 }],
    ['is lost with memory', { state: { kind: 'memory' } }, { level: 'error', undelivered: 1 }],
  ])('breaks off what is not done when the grace is over; it %s', async (_, state, stopped) => {
    await using receiver = await TestReceiver.start(() => undefined);
    await using relay = await RelayProcess.start(
      simpleFile(shared.server.url, receiver.url, { ...state, shutdown: { grace: '200ms' } }),
    );
    await expire('never-answered');
    await eventually('the attempt', () => receiver.requests.length === 1);
    expect(await relay.stop()).toEqual({ code: 0, signal: null });
    expect(relay.logs('stopped')).toMatchObject([stopped]);
    expect(relay.logs('delivery_lost')).toHaveLength(stopped.undelivered);
  });

  it.each(['redis', 'memory'])(
    'does not wait for retries that are not due, in %s',
    async (kind) => {
      await using receiver = await TestReceiver.start((_, response) => {
        response.writeHead(500).end();
      });
      await using relay = await RelayProcess.start(
        simpleFile(shared.server.url, receiver.url, { state: { kind } }),
      );
      await expire('later');
      await relay.logged('attempt');
      const beganMs = performance.now();
      expect((await relay.stop()).code).toBe(0);
      expect(performance.now() - beganMs).toBeLessThan(5_000);
    },
  );

  it('ends the process at once when it is received twice', async () => {
    await using receiver = await TestReceiver.start(() => undefined);
    await using relay = await RelayProcess.start(simpleFile(shared.server.url, receiver.url));
    await expire('never-answered-either');
    await eventually('the attempt', () => receiver.requests.length === 1);
    relay.kill('SIGTERM');
    await relay.logged('stopping');
    relay.kill('SIGINT');
    expect(await relay.exited).toEqual({ code: 1, signal: null });
  });
});

describe('a log without a reader', () => {
  it('delays neither webhooks nor the exit', async () => {
    const keys = 1_000;
    await using receiver = await TestReceiver.start();
    await using relay = await RelayProcess.start(simpleFile(shared.server.url, receiver.url));
    relay.stopReading();
    await expire(...Array.from({ length: keys }, (_, n) => `unread:${n}:${'x'.repeat(200)}`));
    await eventually('all webhooks', () => receiver.requests.length === keys);
    expect((await relay.get('/livez')).status).toBe(200);
    expect((await relay.stop()).code).toBe(0);
  });
});

describe('a start that fails', () => {
  it('because the admin port is in use is logged, and exits 1', async () => {
    const taken = createServer().listen(0, '127.0.0.1');
    await eventually('the port', () => taken.listening);
    const { port } = taken.address() as AddressInfo;
    await using relay = await RelayProcess.spawn(
      simpleFile(shared.server.url, 'http://127.0.0.1:9', {
        admin: { listen: `127.0.0.1:${port}` },
      }),
    );
    expect((await relay.exited).code).toBe(1);
    taken.close();
    expect(relay.logs()).toMatchObject([
      {
        level: 'fatal',
        event: 'start_failed',
        error: `cannot listen on 127.0.0.1:${port}: the port is in use; choose another one (admin.listen)`,
      },
    ]);
    expect(relay.stderr).toBe('');
  });
});
