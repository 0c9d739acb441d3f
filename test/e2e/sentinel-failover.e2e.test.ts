/** Two relays follow real sentinels through every kind of failover. */
import { describe, expect, it } from 'vitest';
import type { RunningRedis } from '../../scripts/lib/redis-server.mjs';
import { eventually } from '../support/eventually.js';
import { type LogLine, RelayProcess, simpleFile } from '../support/relay-process.js';
import { resume, SentinelGroup } from '../support/sentinel.js';
import { expectEach, TestReceiver } from '../support/test-receiver.js';

const KEYS = 100;

/** Some are due before the failover, others in it, most of them after it. */
const FIRST_DUE_MS = 800;
const DUE_EVERY_MS = 80;

/** Enough to delay the active expire cycle of Redis: due keys stay until they are read. */
const OTHERS = 5_000;

const STALE_LIFE_MS = 200;
const DELETED_LIFE_MS = 1_000;
const LAST_LIFE_MS = 1_500;

interface Failover {
  /** Resolves with the new primary. */
  readonly failOver: (group: SentinelGroup, old: RunningRedis) => Promise<RunningRedis>;
  /** The former primary comes back, as a primary: its sentinels reconfigure it later. */
  readonly comeBack: (old: RunningRedis) => Promise<void>;
}

const FAILOVERS: Readonly<Record<string, Failover>> = {
  'kill -9 of the primary': {
    failOver: async (group, old) => {
      await old.kill('SIGKILL');
      return group.movedFrom(old);
    },
    comeBack: (old) => old.restart(),
  },
  'SENTINEL FAILOVER': {
    failOver: (group) => group.failOver(),
    comeBack: async () => undefined,
  },
  'a primary that hangs': {
    failOver: async (group, old) => {
      process.kill(old.pid, 'SIGSTOP');
      return group.movedFrom(old);
    },
    comeBack: async (old) => resume(old),
  },
};

describe.concurrent('through a failover', () => {
  it.for(Object.entries(FAILOVERS))(
    'every key is delivered under one id, and nothing of the old primary is: %s',
    async ([, { failOver, comeBack }]) => {
      await using group = await SentinelGroup.start();
      await using receiver = await TestReceiver.start();
      const file = {
        ...simpleFile('', receiver.url, { route: { match: 'order:*' } }),
        redis: { sentinel: group.section },
      };
      await using one = await RelayProcess.start(file);
      await using other = await RelayProcess.start(file);
      const relays = [one, other];
      const old = await group.primary();
      await setKeys(group, old);
      await eventually('the first webhooks', () => receiver.requests.length > 3);
      const primary = await failOver(group, old);
      const expected = `127.0.0.1:${primary.port} (the primary of mymaster)`;
      for (const relay of relays) {
        await eventually('it listens to the new primary', () =>
          relay.logs('listening').some(({ redis }) => redis === expected),
        );
        await relay.ready();
      }
      await comeBack(old);
      // As applications do that have not noticed: until the sentinels reconfigure it, the server accepts the key.
      const stale = group.client(old);
      await eventually('a key expires on the old primary', () => expireOn(stale), 30_000);
      const kept = group.client(primary);
      await kept.set('order:deleted', '', 'PX', DELETED_LIFE_MS);
      await kept.del('order:deleted');
      await kept.set('order:last', '', 'PX', LAST_LIFE_MS);
      // A webhook of the old primary, or of the deleted key, would be here before the last one.
      await eventually('the last', () => receiver.keys.includes('order:last'), 30_000);
      await eventually('all webhooks', () => new Set(receiver.keys).size > KEYS, 30_000);
      // What is repeated is built again where the state lost its last writes.
      expectEach(receiver, KEYS + 1, true);
      expect(receiver.keys).not.toContain('order:stale');
      expect(receiver.keys).not.toContain('order:deleted');
      for (const relay of relays) {
        expect(switches(relay.logs('listening'))).toEqual([old.port, primary.port]);
        expect(relay.logs('primary_moved')).toHaveLength(1);
        expect((await relay.logged('subscription_lost')).error).toMatch(
          /closed the connection|the primary is Redis at/,
        );
      }
    },
  );
});

/** The replica has them all when this resolves. */
async function setKeys(group: SentinelGroup, primary: RunningRedis): Promise<void> {
  const client = group.client(primary);
  const pipeline = client.pipeline();
  for (let n = 0; n < KEYS; n += 1) {
    pipeline.set(`order:${n}`, '', 'PX', FIRST_DUE_MS + n * DUE_EVERY_MS);
  }
  for (let n = 0; n < OTHERS; n += 1) pipeline.set(`session:${n}`, '', 'EX', 3_600);
  await pipeline.exec();
  await client.wait(1, 5_000);
}

/** False while the server does not respond. Rejects when it is a replica: then the test came too late. */
async function expireOn(redis: ReturnType<SentinelGroup['client']>): Promise<boolean> {
  try {
    await redis.set('order:stale', '', 'PX', STALE_LIFE_MS);
  } catch (error) {
    if (String(error).includes('READONLY')) throw error;
    return false;
  }
  return eventually('it expires', async () => (await redis.exists('order:stale')) === 0);
}

/** The ports of the servers that a relay has listened to, without repetitions in a row. */
function switches(lines: readonly LogLine[]): number[] {
  const ports = lines.map(({ redis }) => Number(/:(\d+) /.exec(String(redis))?.[1]));
  return ports.filter((port, at) => port !== ports[at - 1]);
}
