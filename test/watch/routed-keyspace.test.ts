import { describe, expect, it } from 'vitest';
import { IndexTrust } from '../../src/deadlines/index-trust.js';
import type { KeyInDatabase, KeyReading } from '../../src/model/vocabulary.js';
import { slotOf } from '../../src/redis/slots.js';
import type { Session } from '../../src/source/session.js';
import { type Owner, Owners } from '../../src/watch/owners.js';
import { RoutedKeyspace } from '../../src/watch/routed-keyspace.js';
import { at, NOW_MS } from '../deadlines/deadlines.contract.js';
import { ManualClock } from '../support/manual-clock.js';

/** A primary of a cluster, as a test describes it. */
interface Primary {
  /** Keys of the slots that it is known to have. */
  readonly known: readonly string[];
  /** Keys that it has. */
  readonly has?: readonly string[];
  /** Keys of slots that it is receiving. */
  readonly receives?: readonly string[];
  readonly isSilent?: boolean;
  readonly behindMs?: number;
}

function aKeyspace(...primaries: readonly Primary[]) {
  const clock = new ManualClock(NOW_MS);
  const owners = new Owners();
  /** How often each primary was asked with ASKING. */
  const asked = primaries.map(() => 0);
  let refreshes = 0;
  for (const [
    n,
    { known, has = known, receives = [], isSilent, behindMs },
  ] of primaries.entries()) {
    const slots = new Set(known.map((key) => slotOf(key)));
    const answer = async (keys: readonly KeyInDatabase[], found: readonly string[]) => {
      if (isSilent) await new Promise(() => undefined);
      return keys.map((key): KeyReading => {
        const ttl = found.includes(key.key.toString()) ? 'volatile' : 'elsewhere';
        return { ...key, ttl, deadlineMs: n, readAtMs: 0 };
      });
    };
    const keyspace = {
      read: (keys: readonly KeyInDatabase[]) => answer(keys, has),
      nudge: (keys: readonly KeyInDatabase[]) => answer(keys, has),
      readAsking: (keys: readonly KeyInDatabase[]) => {
        asked[n] = (asked[n] ?? 0) + 1;
        return answer(keys, [...has, ...receives]);
      },
      nowMs: () => NOW_MS - (behindMs ?? 0),
    };
    owners.join({
      slots: { isAll: false, first: 0, has: (slot) => slots.has(slot) },
      session: { keyspace, sweepKeyspace: keyspace } as unknown as Session,
      sweepNow: () => undefined,
      captureMissing: async () => undefined,
    } satisfies Owner);
  }
  const keyspace = new RoutedKeyspace({
    owners,
    trust: new IndexTrust(),
    refreshTopology: async () => {
      refreshes += 1;
    },
    clock,
  });
  return {
    clock,
    keyspace,
    asked,
    refreshes: () => refreshes,
    /** The primary that told each key; null: none. */
    told: (readings: readonly KeyReading[]) =>
      readings.map(({ ttl, deadlineMs }) => (ttl === 'volatile' ? deadlineMs : null)),
  };
}

describe('a key of a cluster', () => {
  it('is read at the primary that has its slot, and nowhere else', async () => {
    const { keyspace, told, asked, refreshes } = aKeyspace({ known: ['a'] }, { known: ['b'] });
    expect(told(await keyspace.nudge([at('b'), at('a')]))).toEqual([1, 0]);
    expect({ asked, refreshes: refreshes() }).toEqual({ asked: [0, 0], refreshes: 0 });
  });

  it('whose slot is moving is read at the primary that receives it', async () => {
    const { keyspace, told, refreshes } = aKeyspace(
      { known: ['a', 'b'], has: ['b'] },
      { known: ['c'], receives: ['a'] },
      { known: ['d'] },
    );
    expect(told(await keyspace.nudge([at('a'), at('b'), at('c')]))).toEqual([1, 0, 1]);
    expect(told(await keyspace.read([at('a')]))).toEqual([1]);
    expect(refreshes()).toBe(2);
  });

  it('whose slot has moved is read where it is now', async () => {
    const { keyspace, told } = aKeyspace(
      { known: ['a'], has: [] },
      { known: ['b'], has: ['a', 'b'] },
    );
    expect(told(await keyspace.readChanged([at('a')]))).toEqual([1]);
  });

  it('whose primary is away or silent is asked of no other one, and others wait for it only once', async () => {
    const { clock, keyspace, told, asked } = aKeyspace(
      { known: ['a'], isSilent: true },
      { known: ['b'] },
    );
    const first = keyspace.nudge([at('a'), at('b'), at('c')]);
    await clock.advance(250);
    expect(told(await first)).toEqual([null, 1, null]);
    expect(told(await keyspace.nudge([at('a'), at('b')]))).toEqual([null, 1]);
    expect(asked).toEqual([0, 0]);
  });
});

describe('the clock of several primaries', () => {
  it('is the one that is ahead, and each key tells how far its primary is behind', () => {
    const { keyspace } = aKeyspace(
      { known: ['a'], behindMs: 700 },
      { known: ['b'], behindMs: 200 },
      { known: ['c'], behindMs: 900 },
    );
    expect(keyspace.nowMs()).toBe(NOW_MS - 200);
    expect(['a', 'b', 'c', 'unknown'].map((key) => keyspace.behindMs(at(key)))).toEqual([
      500, 0, 700, 0,
    ]);
  });
});
