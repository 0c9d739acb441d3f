/**
 * For each write of the index, of the values and of the lease: failed and not stored, and failed but stored
 * (the reply was lost). The outbox's are in test/outbox/faults.test.ts.
 */
import { describe, expect, it, onTestFinished } from 'vitest';
import { RedisDeadlines } from '../../src/deadlines/redis-deadlines.js';
import { systemClock } from '../../src/lib/clock.js';
import type { KeyReading } from '../../src/model/vocabulary.js';
import { configurationsKey, leaseKey } from '../../src/state/format.js';
import { ALWAYS_HELD } from '../../src/state/lease.js';
import { RedisLease } from '../../src/state/redis-lease.js';
import { RedisValues } from '../../src/values/redis-values.js';
import { openBreakableState } from '../support/breakable-state.js';
import { eventually } from '../support/eventually.js';
import { sharedRedis } from '../support/shared-redis.js';

const NOW_MS = 1_700_000_000_000;
const never = new AbortController().signal;

const shared = sharedRedis();
let prefixes = 0;

const key = (name: string) => ({ database: 0, key: Buffer.from(name) });
const dated = (name: string, deadlineMs: number): KeyReading => ({
  ...key(name),
  ttl: 'volatile',
  deadlineMs,
  readAtMs: NOW_MS,
});
const value = (name: string, deadlineMs: number) => ({
  ...key(name),
  deadlineMs,
  bytes: 1,
  value: { value: 'v', base64: null, omitted: null, readAtMs: NOW_MS },
});

async function open() {
  prefixes += 1;
  const prefix = `faults-${prefixes}`;
  const { opened, failsNotStored, failsStored } = await openBreakableState(shared, prefix);
  const deadlines = new RedisDeadlines(opened.state, ALWAYS_HELD, [0], () => undefined);
  const values = new RedisValues(opened.state, ALWAYS_HELD);
  /** All that is stored, by the part of each key that follows the prefix. */
  const stored = async () => {
    const found: Record<string, unknown> = {};
    for (const name of (await shared.client.keys(`{${prefix}}:1:*`)).sort()) {
      const type = await shared.client.type(name);
      const read = {
        zset: () => shared.client.zrange(name, 0, '-1', 'WITHSCORES'),
        hash: () => shared.client.hgetall(name),
        string: () => shared.client.get(name),
      }[type];
      found[name.slice(`{${prefix}}`.length)] = await read?.();
    }
    return found;
  };
  return { deadlines, values, stored, failsNotStored, failsStored };
}

type Opened = Awaited<ReturnType<typeof open>>;

interface Write {
  readonly name: string;
  readonly arrange: (opened: Opened) => Promise<unknown>;
  readonly write: (opened: Opened) => Promise<unknown>;
  /** It reads first, so that the lost reply is that of the reading. */
  readonly readsFirst?: boolean;
}

const WRITES: readonly Write[] = [
  {
    name: 'put',
    arrange: ({ deadlines }) => deadlines.put([dated('a', NOW_MS + 1), dated('b', NOW_MS + 2)]),
    write: ({ deadlines }) =>
      deadlines.put([dated('a', NOW_MS + 9), { ...dated('b', 0), ttl: 'persistent' }]),
  },
  {
    name: 'remove',
    arrange: ({ deadlines }) => deadlines.put([dated('a', NOW_MS), dated('b', NOW_MS + 2)]),
    write: ({ deadlines }) => deadlines.remove([key('a')]),
  },
  {
    name: 'take',
    arrange: ({ deadlines }) => deadlines.put([dated('a', NOW_MS), dated('b', NOW_MS + 9)]),
    write: ({ deadlines }) => deadlines.take(0, NOW_MS, 9),
  },
  {
    name: 'settle',
    arrange: async () => undefined,
    write: ({ deadlines }) => deadlines.advanceWatermark(['a1.1.1']),
  },
  {
    name: 'setAside',
    arrange: ({ deadlines }) => deadlines.put([dated('a', NOW_MS), dated('b', NOW_MS)]),
    write: ({ deadlines }) => deadlines.setAside([key('a')]),
  },
  {
    name: 'bringBack',
    arrange: async ({ deadlines }) => {
      await deadlines.put([dated('a', NOW_MS)]);
      await deadlines.setAside([key('a')]);
    },
    write: ({ deadlines }) => deadlines.bringBack(0, () => true),
    readsFirst: true,
  },
  {
    name: 'forgetAside',
    arrange: async ({ deadlines }) => {
      await deadlines.put([dated('a', NOW_MS)]);
      await deadlines.setAside([key('a')]);
    },
    write: ({ deadlines }) => deadlines.forgetAside(0, NOW_MS),
  },
  {
    name: 'forget',
    arrange: ({ deadlines }) => deadlines.put([dated('a', NOW_MS)]),
    write: ({ deadlines }) => deadlines.forget(0),
  },
  {
    name: 'keep of a value',
    arrange: async () => undefined,
    write: ({ values }) => values.keep([value('a', NOW_MS)]),
  },
  {
    name: 'forget of a value',
    arrange: ({ values }) => values.keep([value('a', NOW_MS), value('b', NOW_MS)]),
    write: ({ values }) => values.forget([{ ...key('a'), deadlineMs: NOW_MS }]),
  },
  {
    name: 'forgetAll of values',
    arrange: ({ values }) => values.keep([value('a', NOW_MS)]),
    write: ({ values }) => values.forgetAll(0),
  },
  {
    name: 'prune of values',
    arrange: ({ values }) => values.keep([value('a', NOW_MS), value('b', NOW_MS + 9)]),
    write: ({ values }) => values.prune(0, NOW_MS + 5),
  },
];

describe.each(WRITES)('$name', ({ arrange, write, readsFirst = false }) => {
  /** What the write stores where nothing fails. */
  async function undisturbed() {
    const opened = await open();
    await arrange(opened);
    await write(opened);
    return opened.stored();
  }

  it('that failed and was not stored has its effect when it is repeated', async () => {
    const opened = await open();
    await arrange(opened);
    const before = await opened.stored();
    await opened.failsNotStored(() => write(opened));
    expect(await opened.stored()).toEqual(before);
    await write(opened);
    expect(await opened.stored()).toEqual(await undisturbed());
  });

  it.skipIf(readsFirst)(
    'that failed but was stored changes nothing when it is repeated',
    async () => {
      const opened = await open();
      await arrange(opened);
      const before = JSON.stringify(await opened.stored());
      await opened.failsStored(
        () => write(opened),
        async () => JSON.stringify(await opened.stored()) !== before,
      );
      await write(opened);
      expect(await opened.stored()).toEqual(await undisturbed());
    },
  );
});

describe('the lease', () => {
  async function aLease() {
    prefixes += 1;
    const prefix = `faults-${prefixes}`;
    const { opened, ...faults } = await openBreakableState(shared, prefix);
    const lease = new RedisLease({
      state: opened.state,
      replica: 'one',
      configuration: () => ({ digest: 'a1', endpoints: new Map() }),
      clock: systemClock,
      onLook: () => undefined,
    });
    onTestFinished(() => lease.stop());
    const token = () => shared.client.hget(leaseKey(prefix), 'token');
    return { lease, token, prefix, ...faults };
  }

  it('whose hold was stored although its reply was lost is held under another token', async () => {
    const { lease, token, prefix, ...faults } = await aLease();
    lease.start();
    await eventually('a look', async () => shared.client.exists(configurationsKey(prefix)));
    await faults.loseReplies(async () => {
      lease.compete(true);
      await eventually('it is stored', async () => (await token()) !== null);
    });
    const lost = await token();
    expect(lease.token).toBeNull();
    await lease.taken(never);
    expect(lease.token).not.toBe(lost);
    expect(await token()).toBe(lease.token);
  });

  it('whose release was stored although its reply was lost is free, and is taken again', async () => {
    const { lease, token, ...faults } = await aLease();
    lease.compete(true);
    lease.start();
    await lease.taken(never);
    await faults.loseReplies(async () => {
      lease.withdraw();
      await eventually('it is released', async () => (await token()) === null);
    });
    lease.compete(true);
    await lease.taken(never);
    expect(await token()).toBe(lease.token);
  });
});
