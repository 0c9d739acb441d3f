import { describe, expect, it } from 'vitest';
import type { Deadlines } from '../../src/deadlines/deadlines.js';
import { MemoryDeadlines } from '../../src/deadlines/memory-deadlines.js';
import { Tracker } from '../../src/deadlines/tracker.js';
import type { Deadline, KeyInDatabase, KeyReading } from '../../src/model/vocabulary.js';
import { Nudger } from '../../src/watch/nudger.js';
import { at, NOW_MS, until } from '../deadlines/deadlines.contract.js';
import { ManualClock, settled } from '../support/manual-clock.js';

/** Of the clock of a primary, for keys whose names begin with `behind`. */
const BEHIND_MS = 3_000;

const behindMs = ({ key }: KeyInDatabase) => (key.toString().startsWith('behind') ? BEHIND_MS : 0);

/** A nudger that runs, and keys that a test sets; disposing stops it. */
async function aNudger(
  given: {
    clockAheadMs?: number;
    deadlines?: Deadlines;
    room?: () => Promise<void>;
    drained?: () => Promise<void>;
    onTaken?: (taken: readonly Deadline[]) => void;
  } = {},
) {
  const clock = new ManualClock(NOW_MS);
  const deadlines = given.deadlines ?? new MemoryDeadlines();
  const keys = new Map<string, number>();
  const reads: { key: string; atMs: number }[] = [];
  const missing: { keys: string[]; atMs: number }[] = [];
  const elapsedMs = () => clock.nowMs() - NOW_MS;
  const read = async (wanted: readonly KeyInDatabase[]): Promise<KeyReading[]> =>
    wanted.map((key) => {
      const name = key.key.toString();
      reads.push({ key: name, atMs: elapsedMs() });
      const deadlineMs = keys.get(name);
      const readAtMs = clock.nowMs() - behindMs(key);
      if (deadlineMs !== undefined && deadlineMs < readAtMs) keys.delete(name);
      if (name.startsWith('away')) return { ...key, ttl: 'elsewhere', deadlineMs: 0, readAtMs };
      if (!keys.has(name)) return { ...key, ttl: 'missing', deadlineMs: 0, readAtMs };
      return { ...key, ttl: 'volatile', deadlineMs: deadlineMs ?? 0, readAtMs };
    });
  const tracker = new Tracker(deadlines);
  const nudger = new Nudger({
    database: 0,
    deadlines,
    tracker,
    reader: { read },
    serverNowMs: () => clock.nowMs() + (given.clockAheadMs ?? 0),
    behindMs,
    clock,
    onMissing: async (what: readonly Deadline[]) =>
      void missing.push({ keys: what.map(({ key }) => key.toString()), atMs: elapsedMs() }),
    // As the watch does, once all earlier notifications have been received.
    onAlive: (alive) => void tracker.reread(alive, { read }).catch(() => undefined),
    onNudged: () => undefined,
    onTaken: given.onTaken ?? (() => undefined),
    room: given.room ?? (async () => undefined),
    drained: given.drained ?? (async () => undefined),
  });
  const stop = new AbortController();
  const over = nudger.run(stop.signal);
  over.catch(() => undefined);
  /** Sets the deadline of a key, in Redis and in the index. */
  const set = async (key: string, inMs: number) => {
    keys.set(key, NOW_MS + inMs);
    await tracker.reread([at(key)], { read: async () => [until(key, inMs)] });
    await settled();
  };
  await settled();
  return {
    clock,
    deadlines,
    keys,
    reads,
    missing,
    set,
    over,
    [Symbol.asyncDispose]: async () => {
      stop.abort();
      await over.catch(() => undefined);
    },
  };
}

describe('a nudger', () => {
  it('reads a key just after its deadline, and not before', async () => {
    await using under = await aNudger();
    await under.set('a', 10_000);
    await under.clock.advance(10_000);
    expect(under.reads).toEqual([]);
    await under.clock.advance(1);
    expect(under.reads).toEqual([{ key: 'a', atMs: 10_001 }]);
  });

  it('reads the key of a primary whose clock is behind the others just after its deadline there', async () => {
    await using under = await aNudger();
    await under.set('behind', 1_000);
    await under.set('a', 2_000);
    await under.set('behind too', 1_500);
    for (let steps = 0; steps < 500; steps += 1) await under.clock.advance(10);
    const firstReads = new Map(under.reads.toReversed().map(({ key, atMs }) => [key, atMs]));
    expect(Object.fromEntries(firstReads)).toEqual({
      a: 2_001,
      behind: 1_001 + BEHIND_MS,
      'behind too': 1_501 + BEHIND_MS,
    });
  });

  it('reports a key 100 ms before its deadline, and waits for no reply', async () => {
    const taken: { key: string; atMs: number }[] = [];
    const onTaken = (deadlines: readonly Deadline[]) => {
      const atMs = under.clock.nowMs() - NOW_MS;
      taken.push(...deadlines.map(({ key }) => ({ key: key.toString(), atMs })));
    };
    await using under = await aNudger({ onTaken });
    await under.set('a', 1_000);
    await under.clock.advance(1_001);
    expect(taken).toEqual([{ key: 'a', atMs: 900 }]);
    expect(under.reads).toEqual([{ key: 'a', atMs: 1_001 }]);
  });

  it.each([
    [10, true],
    [40, false],
  ])('with %i deadlines in hand, spends the end of a wait in turns: %j', async (count, turns) => {
    await using under = await aNudger();
    let spent = 0;
    const turn = under.clock.turn.bind(under.clock);
    under.clock.turn = () => {
      spent += 1;
      return turn();
    };
    for (let n = 0; n < count; n += 1) await under.set(`key ${n}`, 1_000);
    await under.clock.advance(1_000.8);
    // Wakes the nudger, which has 0.2 ms to wait.
    await under.set('later', 1_050);
    expect(under.reads).toEqual([]);
    expect(spent > 0).toBe(turns);
    await under.clock.advance(1);
    expect(under.reads).toHaveLength(count);
  });

  it('waits for the new deadline of a key that lives on', async () => {
    await using under = await aNudger();
    await under.set('a', 100);
    under.keys.set('a', NOW_MS + 900);
    await under.clock.advance(950);
    // Read again, once earlier notifications are processed.
    expect(under.reads.map(({ atMs }) => atMs)).toEqual([101, 101, 901]);
  });

  it('wakes up for a deadline that is earlier than the one it waits for', async () => {
    await using under = await aNudger();
    await under.set('late', 900);
    await under.set('soon', 50);
    await under.clock.advance(60);
    expect(under.reads).toEqual([{ key: 'soon', atMs: 51 }]);
  });

  it('does not miss a deadline that is written while it reads the index', async () => {
    const deadlines = new MemoryDeadlines();
    const answers: (() => void)[] = [];
    const earliestMs = deadlines.earliestMs.bind(deadlines);
    deadlines.earliestMs = async (database) => {
      const found = await earliestMs(database);
      await new Promise<void>((resolve) => answers.push(resolve));
      return found;
    };
    await using under = await aNudger({ deadlines });
    await under.set('a', 50);
    deadlines.earliestMs = earliestMs;
    answers.shift()?.();
    await under.clock.advance(60);
    expect(under.reads).toEqual([{ key: 'a', atMs: 51 }]);
  });

  it('notices within a second a deadline that another process has written into the index', async () => {
    await using under = await aNudger();
    under.keys.set('a', NOW_MS + 100);
    await under.deadlines.put([until('a', 100)]);
    await under.clock.advance(1_001);
    expect(under.reads[0]?.key).toBe('a');
  });

  it('reports a key that has been missing without a notification for a second, until it is claimed', async () => {
    await using under = await aNudger();
    await under.set('a', 500);
    await under.clock.advance(1_499);
    expect(under.missing).toEqual([]);
    await under.clock.advance(600);
    expect(under.missing.length).toBeGreaterThan(1);
    expect(under.missing[0]?.keys).toEqual(['a']);
    expect(under.missing[0]?.atMs).toBeLessThanOrEqual(1_750);
    await under.deadlines.remove([at('a')]);
    const before = under.missing.length;
    await under.clock.advance(5_000);
    expect(under.missing).toHaveLength(before);
  });

  it('does not report a key that is claimed within the second, or set again', async () => {
    await using under = await aNudger();
    await under.set('claimed', 500);
    await under.set('again', 500);
    await under.clock.advance(900);
    await under.deadlines.remove([at('claimed')]);
    under.keys.set('again', NOW_MS + 60_000);
    await under.clock.advance(5_000);
    expect(under.missing).toEqual([]);
    expect(await under.deadlines.find([at('again')])).toEqual([NOW_MS + 60_000]);
  });

  it('reports nothing while received expirations wait to be claimed', async () => {
    let settle = () => undefined as unknown;
    const settling = new Promise<void>((resolve) => {
      settle = () => resolve();
    });
    await using under = await aNudger({ drained: () => settling });
    await under.set('a', 500);
    await under.set('b', 500);
    await under.clock.advance(10_000);
    expect(under.reads).toHaveLength(2);
    expect(under.missing).toEqual([]);
    await under.deadlines.remove([at('a')]);
    settle();
    await under.clock.advance(300);
    expect(under.missing[0]?.keys).toEqual(['b']);
  });

  it('reports keys that were overdue before it began', async () => {
    const deadlines = new MemoryDeadlines();
    await deadlines.put([until('a', -60_000)]);
    await deadlines.take(0, NOW_MS, 9);
    await using under = await aNudger({ deadlines });
    expect(under.missing).toMatchObject([{ keys: ['a'], atMs: 0 }]);
  });

  it('reads in time the keys that had been taken out of the index before it began', async () => {
    const deadlines = new MemoryDeadlines();
    await deadlines.put([until('a', 40), until('b', 60)]);
    await deadlines.take(0, NOW_MS + 100, 9);
    await using under = await aNudger({ deadlines });
    await under.clock.advance(100);
    expect(under.reads).toEqual([
      { key: 'a', atMs: 41 },
      { key: 'b', atMs: 61 },
    ]);
  });

  it('reads nothing while there is no room for notifications, and holds a few keys', async () => {
    const deadlines = new MemoryDeadlines();
    let makeRoom = () => undefined as unknown;
    const room = new Promise<void>((resolve) => {
      makeRoom = () => resolve();
    });
    for (let n = 0; n < 5_000; n += 1) await deadlines.put([until(`k${n}`, 50)]);
    await using under = await aNudger({ deadlines, room: () => room });
    await under.clock.advance(900);
    expect(under.reads).toEqual([]);
    expect(await deadlines.overdue(0, NOW_MS + 50, 9_999)).toHaveLength(2_000);
    makeRoom();
    await under.clock.advance(50);
    expect(new Set(under.reads.map(({ key }) => key)).size).toBe(5_000);
  });

  it('reports a missing key behind thousands whose primary is away, and those when it is back', async () => {
    await using under = await aNudger();
    const away = Array.from({ length: 5_000 }, (_, n) => until(`away${n}`, -20_000));
    await under.deadlines.put([...away, until('gone', -10_000)]);
    await under.deadlines.take(0, NOW_MS, 9_999);
    await under.clock.advance(5_000);
    expect(under.missing.flatMap(({ keys }) => keys)).toContain('gone');
    const before = under.reads.filter(({ key }) => key === 'away0').length;
    await under.clock.advance(5_000);
    expect(under.reads.filter(({ key }) => key === 'away0').length).toBeGreaterThan(before);
  });

  it('does not spin when there is nothing to do, nor when its clock is ahead of the server', async () => {
    await using idle = await aNudger();
    let looks = 0;
    const take = idle.deadlines.take.bind(idle.deadlines);
    idle.deadlines.take = (...args) => {
      looks += 1;
      return take(...args);
    };
    await idle.clock.advance(60_000);
    expect(looks).toBeLessThanOrEqual(61);
    await using ahead = await aNudger({ clockAheadMs: 1_000 });
    await ahead.set('a', 1_500);
    await ahead.clock.advance(1_500);
    expect(ahead.reads.length).toBeLessThan(250);
  });

  it('fails with the error of Redis when the index is unavailable', async () => {
    const deadlines = new MemoryDeadlines();
    deadlines.overdue = () => Promise.reject(new Error('away'));
    await using under = await aNudger({ deadlines });
    await expect(under.over).rejects.toThrow('away');
  });
});
