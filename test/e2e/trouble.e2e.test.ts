/** The state Redis has failures; accepted deliveries are still made, and the reason is logged. */
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { describe, expect, it } from 'vitest';
import { type RunningRedis, startRedis } from '../../scripts/lib/redis-server.mjs';
import { endpointKeys, formatKey, replicasKey } from '../../src/state/format.js';
import { eventually } from '../support/eventually.js';
import { captured, drained, expire, pending } from '../support/outbox-of-relay.js';
import { type RelayFile, RelayProcess, simpleFile } from '../support/relay-process.js';
import { TcpProxy } from '../support/tcp-proxy.js';
import { expectEach, TestReceiver } from '../support/test-receiver.js';

const PREFIX = 'expiry-relay';
const { deliveries } = endpointKeys(PREFIX, 'shop');

/** A webhook answered with 404 is retried soon, and the circuit breaker stays closed. */
const OFTEN = { schedule: Array.from({ length: 50 }, () => '300ms'), jitter: 0 };

/** Where keys expire, a state Redis of its own, and a receiver that takes nothing until it is open. */
class Scene implements AsyncDisposable {
  isOpen = false;
  readonly keys: RunningRedis;
  readonly state: RunningRedis;
  readonly client: Redis;
  readonly receiver: TestReceiver;

  private constructor(keys: RunningRedis, state: RunningRedis, receiver: TestReceiver) {
    this.keys = keys;
    this.state = state;
    this.client = clientOf(state);
    this.receiver = receiver;
    receiver.respond = (_, response) => void response.writeHead(this.isOpen ? 204 : 404).end();
  }

  static async set(args: readonly string[] = []): Promise<Scene> {
    const [keys, state] = await Promise.all([startRedis(), startRedis({ args })]);
    return new Scene(keys, state, await TestReceiver.start());
  }

  file(stateUrl = this.state.url, more: RelayFile = {}): RelayFile {
    return simpleFile(this.keys.url, this.receiver.url, {
      endpoint: { retry: OFTEN },
      shutdown: { grace: '1s' },
      state: { url: stateUrl },
      ...more,
    });
  }

  /** Opens the receiver, and waits for all webhooks. */
  async delivers(relay: RelayProcess, count: number): Promise<void> {
    this.isOpen = true;
    await eventually('all keys', () => new Set(this.receiver.keys).size === count, 30_000);
    await drained(relay);
    expectEach(this.receiver, count);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.client.disconnect();
    await Promise.all([this.keys.stop(), this.state.stop(), this.receiver[Symbol.asyncDispose]()]);
  }
}

function clientOf(server: RunningRedis): Redis {
  const client = new Redis(server.url, { protocol: 2 });
  // Servers are killed and restarted here.
  client.on('error', () => undefined);
  return client;
}

const notReady = (relay: RelayProcess, text: string | RegExp) =>
  eventually(`not ready: ${text}`, async () => {
    const { status, text: found } = await relay.get('/readyz');
    return status === 503 && found.match(text) !== null;
  });

async function saidOnce(relay: RelayProcess, text: string): Promise<void> {
  const said = () =>
    relay.logs('state_unavailable').filter(({ error }) => `${error}`.includes(text));
  await eventually(`said: ${text}`, () => said().length > 0);
  expect(said()).toHaveLength(1);
}

describe.concurrent('a state Redis in trouble', () => {
  it('full: drains, keeps trying to store, and loses nothing', async () => {
    await using scene = await Scene.set();
    await using relay = await RelayProcess.start(scene.file());
    await expire(scene.keys, 20, 'before');
    await captured(relay, 20);
    // Less than it uses, so that deliveries free no room.
    await scene.client.config('SET', 'maxmemory', 1);
    await expire(scene.keys, 10, 'meanwhile');
    const trouble = await relay.logged('state_unavailable');
    expect(trouble).toMatchObject({
      level: 'error',
      operation: expect.stringMatching(/^(track|enqueue)$/),
    });
    expect(trouble.error).toMatch(/has reached maxmemory and rejects writes/);
    await notReady(relay, /\[-\] state: .* has reached maxmemory .*\. Give it more memory/);
    scene.isOpen = true;
    await drained(relay);
    expect(new Set(scene.receiver.keys).size).toBe(20);
    const failed = 'expiry_relay_state_errors_total{operation="enqueue"}';
    await eventually('a failed enqueue', async () => (await relay.metric(failed)) > 0);
    await saidOnce(relay, 'maxmemory');
    await scene.client.config('SET', 'maxmemory', 0);
    await scene.delivers(relay, 30);
    await relay.logged('state_recovered');
    await relay.ready();
  }, 60_000);

  it('full until the relay stops: logs the lost expirations', async () => {
    await using scene = await Scene.set();
    await using relay = await RelayProcess.start(scene.file());
    await scene.client.config('SET', 'maxmemory', 1);
    await expire(scene.keys, 1);
    await relay.logged('capture_failed');
    const failed = 'expiry_relay_state_errors_total{operation="enqueue"}';
    await eventually('a failed enqueue', async () => (await relay.metric(failed)) > 0);
    expect((await relay.stop()).code).toBe(0);
    expect(relay.logs('capture_abandoned')).toMatchObject([{ level: 'error', expirations: 1 }]);
  }, 60_000);

  it('that cannot save: waits, logs it, and continues when it can', async () => {
    await using scene = await Scene.set();
    await using relay = await RelayProcess.start(scene.file());
    await expire(scene.keys, 5, 'before');
    await captured(relay, 5);
    const inTheWay = join(scene.state.dir, 'dump.rdb');
    const bgsave = async (status: string) => {
      await scene.client.bgsave().catch(() => undefined);
      return (await scene.client.info('persistence')).includes(`bgsave_status:${status}`);
    };
    await scene.client.config('SET', 'save', '3600 1');
    await mkdir(join(inTheWay, 'x'), { recursive: true });
    await eventually('a save that fails', () => bgsave('err'));
    await expire(scene.keys, 5, 'meanwhile');
    await notReady(relay, 'rejects writes because it cannot save to disk');
    scene.isOpen = true;
    await saidOnce(relay, 'MISCONF');
    await rm(inTheWay, { recursive: true });
    await eventually('a save', () => bgsave('ok'));
    await scene.delivers(relay, 10);
    await relay.ready();
  }, 60_000);

  it.each(['is killed', 'becomes a replica'])(
    'whose primary %s: continues with the one that its name resolves to',
    async (how) => {
      await using scene = await Scene.set(['--repl-diskless-sync-delay', '0']);
      await using heir = await startRedis();
      await using proxy = await TcpProxy.start(scene.state.port);
      const client = clientOf(heir);
      await client.replicaof('127.0.0.1', scene.state.port);
      await using relay = await RelayProcess.start(scene.file(`redis://127.0.0.1:${proxy.port}`));
      await expire(scene.keys, 30, 'before');
      await captured(relay, 30);
      await eventually('replicated', async () => (await client.hlen(deliveries)) === 30);
      await client.call('REPLICAOF', 'NO', 'ONE');
      if (how === 'is killed') await scene.state.kill('SIGKILL');
      else await scene.client.replicaof('127.0.0.1', heir.port);
      await expire(scene.keys, 10, 'meanwhile');
      // The proxy accepts connections to a server that is dead.
      const dead = /cannot be reached|accepts connections and closes them/;
      await notReady(relay, how === 'is killed' ? dead : /replica/);
      proxy.leadTo(heir.port);
      await scene.delivers(relay, 40);
      await relay.ready();
      client.disconnect();
    },
    60_000,
  );

  it('that is made a replica for a while: waits until it accepts writes again', async () => {
    await using scene = await Scene.set();
    await using primary = await startRedis();
    await using relay = await RelayProcess.start(scene.file());
    // Without a primary to copy, it keeps its data.
    await primary.kill('SIGKILL');
    await expire(scene.keys, 5, 'before');
    await captured(relay, 5);
    await scene.client.replicaof('127.0.0.1', primary.port);
    await expire(scene.keys, 5, 'meanwhile');
    await notReady(relay, /is a replica of .*, and rejects writes/);
    await saidOnce(relay, 'is a replica of');
    await scene.client.call('REPLICAOF', 'NO', 'ONE');
    await scene.delivers(relay, 10);
    await relay.ready();
  }, 60_000);

  it('that loads its data after a crash: logs it and waits', async () => {
    const slow = ['--key-load-delay', '400', '--loading-process-events-interval-bytes', '1024'];
    await using scene = await Scene.set(slow);
    const filler = Array.from({ length: 6_000 }, (_, n) => [`filler:${n}`, 'x'.repeat(100)]);
    await scene.client.mset(...filler.flat());
    await using relay = await RelayProcess.start(scene.file());
    await expire(scene.keys, 5, 'before');
    await captured(relay, 5);
    await scene.client.save();
    await scene.state.kill('SIGKILL');
    await expire(scene.keys, 5, 'meanwhile');
    const restarted = scene.state.restart();
    await notReady(relay, 'LOADING');
    await restarted;
    await scene.delivers(relay, 10);
    await relay.ready();
  }, 60_000);

  it('that loses its scripts during deliveries: nothing is lost', async () => {
    await using scene = await Scene.set();
    scene.isOpen = true;
    await using relay = await RelayProcess.start(scene.file());
    for (let round = 0; round < 5; round += 1) {
      await expire(scene.keys, 20, `round-${round}`);
      await eventually('some of it', () => scene.receiver.requests.length > round * 20);
      await scene.client.script('FLUSH');
    }
    await scene.delivers(relay, 100);
    expect(relay.logs().filter(({ level }) => level === 'error')).toEqual([]);
    expect(scene.receiver.requests).toHaveLength(100);
  }, 60_000);

  it('whose prefix another version uses: waits and logs the action', async () => {
    await using scene = await Scene.set();
    await scene.client.set(formatKey(PREFIX), '2');
    await using relay = await RelayProcess.spawn(scene.file());
    await notReady(relay, /expected format 1, found 2\)\. Run that version, or choose another/);
    await scene.client.del(formatKey(PREFIX));
    await relay.ready(15_000);
    await saidOnce(relay, 'found 2');
    await expire(scene.keys, 1);
    await scene.delivers(relay, 1);
  }, 60_000);

  it('with a key of another type that it may not rename: deletes and records it, and delivers', async () => {
    await using scene = await Scene.set();
    await scene.client.call('ACL', 'SETUSER', 'default', '-rename');
    await scene.client.rpush(deliveries, 'not ours');
    await using relay = await RelayProcess.start(scene.file());
    await expire(scene.keys, 3);
    await scene.delivers(relay, 3);
    expect(await relay.logged('quarantined')).toMatchObject({
      redis_key: deliveries,
      kind: 'deleted_key',
    });
  });

  it.each([
    ['allkeys-lru', 1],
    ['volatile-lru', 0],
  ] as const)('at the policy %s: warnings of what it may throw away: %d', async (policy, count) => {
    await using scene = await Scene.set(['--maxmemory', '100mb', '--maxmemory-policy', policy]);
    scene.isOpen = true;
    await using relay = await RelayProcess.start(scene.file());
    await expire(scene.keys, 1);
    await scene.delivers(relay, 1);
    expect(relay.logs('state_evictable')).toHaveLength(count);
  });

  it('that is emptied: delivers later expirations', async () => {
    await using scene = await Scene.set();
    await using relay = await RelayProcess.start(scene.file());
    await expire(scene.keys, 5, 'before');
    await captured(relay, 5);
    await scene.client.flushall();
    await eventually('nothing is left', async () => (await pending(relay)) === 0);
    scene.receiver.requests.length = 0;
    await expire(scene.keys, 5, 'later');
    await scene.delivers(relay, 5);
    const presence = () => scene.client.zcard(replicasKey(PREFIX));
    await eventually('a sign of life', async () => (await presence()) === 1);
    await eventually('the format', async () => (await scene.client.get(formatKey(PREFIX))) === '1');
    expect(relay.running).toBe(true);
  }, 60_000);
});
