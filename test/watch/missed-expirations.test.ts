import { expect, it } from 'vitest';
import { MemoryDeadlines } from '../../src/deadlines/memory-deadlines.js';
import { Tracker } from '../../src/deadlines/tracker.js';
import type { KeyInDatabase, KeyReading } from '../../src/model/vocabulary.js';
import { ALL_SLOTS } from '../../src/redis/slots.js';
import type { Session } from '../../src/source/session.js';
import { catchUp } from '../../src/watch/missed-expirations.js';
import { NOW_MS, until } from '../deadlines/deadlines.contract.js';

type Readings = Readonly<Record<string, Partial<KeyReading>>>;

interface Server {
  readonly isEmptied?: boolean;
  /** The keys as they are read once the server executes writes. */
  readonly confirmed?: () => Readings;
  /** What the search does, also if it fails. */
  readonly steps?: string[];
}

/** The start of a term: the index has deadlines that have passed, and `readings` is the state of the keys. */
async function found(
  readings: Readings,
  { isEmptied = false, confirmed = () => readings, steps = [] }: Server = {},
) {
  const deadlines = new MemoryDeadlines();
  const names = Object.keys(readings);
  await deadlines.put(names.map((name) => until(name, -5)));
  const read = (now: Readings, keys: readonly KeyInDatabase[]) =>
    keys.map(({ database, key }): KeyReading => {
      const reading = { ttl: 'missing', deadlineMs: 0, readAtMs: NOW_MS } as const;
      return { database, key, ...reading, ...now[key.toString()] };
    });
  const keyspace: Pick<Session['keyspace'], 'nudge' | 'read'> = {
    nudge: async (keys) => read(readings, keys),
    read: async (keys) => read(confirmed(), keys),
  };
  await catchUp(
    {
      database: 0,
      slots: ALL_SLOTS,
      session: {
        keyspace: keyspace as Session['keyspace'],
        barrier: async () => void steps.push('barrier'),
      },
      deadlines,
      tracker: new Tracker(deadlines),
      queue: { drained: async () => undefined },
      intake: {
        push: ({ kind, key }) => void steps.push(`${kind} ${key}`),
        reread: (keys) => void steps.push(...keys.map(({ key }) => `reread ${key}`)),
        room: async () => undefined,
      },
      routing: { isRouted: (key) => !key.toString().startsWith('other') },
      serverNowMs: () => NOW_MS,
      isEmptied: async () => isEmptied,
    },
    new AbortController().signal,
  );
  return steps;
}

const volatile = { ttl: 'volatile', deadlineMs: NOW_MS + 900 } as const;

it('keys that are missing after their deadlines expired without a notification', async () => {
  expect(await found({ a: {}, other: {} })).toEqual(['barrier', 'expired a']);
});

it('keys that still exist have their deadlines read before any later expiration is captured', async () => {
  const persistent = { ttl: 'persistent' } as const;
  expect(await found({ a: {}, b: volatile, c: persistent })).toEqual([
    'barrier',
    'reread b',
    'reread c',
    'expired a',
  ]);
});

it('keys of a database that was emptied did not expire', async () => {
  expect(await found({ a: {}, b: volatile }, { isEmptied: true })).toEqual([]);
});

it('keys that seem missing while expiry is paused have not expired', async () => {
  const confirmed = () => ({ b: { ttl: 'volatile', deadlineMs: NOW_MS - 5 } as const });
  expect(await found({ a: {}, b: {} }, { confirmed })).toEqual(['barrier', 'expired a']);
});

it('keys that seem missing on a demoted server have not expired', async () => {
  const steps: string[] = [];
  const confirmed = () => {
    throw new Error('demoted');
  };
  await expect(found({ a: {} }, { confirmed, steps })).rejects.toThrow('demoted');
  expect(steps).toEqual([]);
});
