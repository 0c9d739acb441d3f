/** The contract of every index of deadlines. Called once for each implementation. */
import { describe, expect, it } from 'vitest';
import type { Deadlines } from '../../src/deadlines/deadlines.js';
import type {
  CapturedExpiration,
  Deadline,
  KeyInDatabase,
  KeyReading,
} from '../../src/model/vocabulary.js';
import { aCapturedExpiration } from '../support/domain.js';

/** An index, and the function that the outbox calls with claimed deadlines. */
export interface OpenedDeadlines extends AsyncDisposable {
  readonly deadlines: Deadlines;
  claim(claimed: readonly CapturedExpiration[]): Promise<void>;
}

export const NOW_MS = Date.parse('2026-11-22T06:00:00.000Z');

export const at = (key: string | Buffer, database = 0): KeyInDatabase => ({
  database,
  key: Buffer.from(key),
});

export const until = (key: string | Buffer, inMs: number, database = 0): KeyReading => ({
  ...at(key, database),
  ttl: 'volatile',
  deadlineMs: NOW_MS + inMs,
  readAtMs: NOW_MS,
});

export const endless = (key: string, database = 0): KeyReading => ({
  ...at(key, database),
  ttl: 'persistent',
  deadlineMs: 0,
  readAtMs: NOW_MS,
});

export const gone = (key: string, readInMs = 0): KeyReading => ({
  ...at(key),
  ttl: 'missing',
  deadlineMs: 0,
  readAtMs: NOW_MS + readInMs,
});

/** A key that expired at its deadline, and was found missing a millisecond later. */
export const claimOf = (deadline: Deadline): CapturedExpiration => ({
  ...deadline,
  detectedAtMs: deadline.deadlineMs + 1,
  names: [`=${deadline.deadlineMs}`],
});

const names = (keys: readonly KeyInDatabase[]) => keys.map(({ key }) => key.toString());

async function scanned(deadlines: Deadlines, database = 0): Promise<string[]> {
  const found: string[] = [];
  for await (const keys of deadlines.scan(database)) found.push(...names(keys));
  return [...new Set(found)].sort();
}

/** Takes all entries that are due within `inMs`, and returns their keys and deadlines. */
const takeAll = (deadlines: Deadlines, inMs: number) => deadlines.take(0, NOW_MS + inMs, 1_000);

export function describeDeadlines(name: string, open: () => Promise<OpenedDeadlines>): void {
  describe(name, () => {
    describeEntries(open);
    describeOrder(open);
    describeClaims(open);
  });
}

function describeEntries(open: () => Promise<OpenedDeadlines>): void {
  it('returns the deadline that was read last, and null for any other key', async () => {
    await using opened = await open();
    const { deadlines } = opened;
    await deadlines.put([until('a', 5), until('b', 7)]);
    await deadlines.put([until('a', 9)]);
    await deadlines.put([until('a', 9)]);
    expect(await deadlines.find([at('b'), at('c'), at('a')])).toEqual([
      NOW_MS + 7,
      null,
      NOW_MS + 9,
    ]);
    expect(await deadlines.count()).toBe(2);
    expect(await deadlines.find([])).toEqual([]);
    await deadlines.put([]);
  });

  it('forgets a key that has no deadline any more, tracked or overdue', async () => {
    await using opened = await open();
    const { deadlines } = opened;
    await deadlines.put([until('a', 5), until('b', 5)]);
    await takeAll(deadlines, 5);
    await deadlines.put([until('b', 9), endless('a'), endless('b')]);
    expect(await deadlines.count()).toBe(0);
  });

  it('keeps the entry of a key whose slot moves to another node', async () => {
    await using opened = await open();
    await opened.deadlines.put([until('a', 5)]);
    await opened.deadlines.put([{ ...gone('a', 1), ttl: 'elsewhere' }]);
    expect(await opened.deadlines.find([at('a')])).toEqual([NOW_MS + 5]);
  });

  it('forgets a key that vanished before its deadline, and keeps one that vanished after', async () => {
    await using opened = await open();
    const { deadlines } = opened;
    await deadlines.put([until('before', 10), until('after', 10)]);
    await deadlines.put([gone('before', 9), gone('after', 10), gone('never seen')]);
    expect(await scanned(deadlines)).toEqual(['after']);
    await deadlines.put([until('before', 20)]);
    await takeAll(deadlines, 20);
    await deadlines.put([gone('before', 19), gone('after', 19)]);
    expect(names(await deadlines.overdue(0, NOW_MS + 20, 9))).toEqual(['after']);
  });

  it('keeps a missing key overdue, and tracks it again when it exists', async () => {
    await using opened = await open();
    const { deadlines } = opened;
    await deadlines.put([until('a', 5), until('b', 5)]);
    await takeAll(deadlines, 5);
    await deadlines.put([gone('a', 6), until('b', 50)]);
    expect(names(await deadlines.overdue(0, NOW_MS + 100, 9))).toEqual(['a']);
    expect(await scanned(deadlines)).toEqual(['b']);
    expect(await deadlines.find([at('a'), at('b')])).toEqual([NOW_MS + 5, NOW_MS + 50]);
  });

  it('forgets a removed key, tracked or overdue, with any deadline', async () => {
    await using opened = await open();
    const { deadlines } = opened;
    await deadlines.put([until('a', 5), until('b', 500), until('c', 500)]);
    await takeAll(deadlines, 5);
    await deadlines.remove([at('a'), at('b'), at('never seen')]);
    await deadlines.remove([]);
    expect(await deadlines.count()).toBe(1);
    expect(await deadlines.find([at('a'), at('b'), at('c')])).toEqual([null, null, NOW_MS + 500]);
  });

  it('keeps the bytes of keys as they are', async () => {
    await using opened = await open();
    const { deadlines } = opened;
    const keys = [Buffer.from([0x80, 0xff, 0, 0x0a]), Buffer.from([0x80, 0xfe, 0, 0x0a])];
    await deadlines.put([until(keys[0] ?? '', 5), until('', 5)]);
    expect(await deadlines.find(keys.map((key) => at(key)))).toEqual([NOW_MS + 5, null]);
    const taken = await takeAll(deadlines, 5);
    expect(taken.map(({ key }) => key.toString('hex')).sort()).toEqual(['', '80ff000a']);
    await deadlines.remove([at(keys[0] ?? '')]);
    expect(await deadlines.count()).toBe(1);
  });

  it('keeps databases apart, and forgets one of them as a whole', async () => {
    await using opened = await open();
    const { deadlines } = opened;
    await deadlines.put([until('a', 5), until('a', 7, 1), until('b', 9, 1), until('c', 9, 1)]);
    await deadlines.take(1, NOW_MS + 7, 9);
    expect(await deadlines.find([at('a', 1), at('a')])).toEqual([NOW_MS + 7, NOW_MS + 5]);
    expect(await deadlines.forget(1)).toBe(3);
    expect(await deadlines.forget(1)).toBe(0);
    expect(await deadlines.count()).toBe(1);
    expect(await scanned(deadlines, 1)).toEqual([]);
    expect(await deadlines.overdue(1, NOW_MS + 99, 9)).toEqual([]);
    expect(await deadlines.earliestMs(1)).toBeNull();
    expect(await deadlines.earliestMs(0)).toBe(NOW_MS + 5);
  });
}

function describeOrder(open: () => Promise<OpenedDeadlines>): void {
  it('returns due entries, earliest first and up to a limit, each once', async () => {
    await using opened = await open();
    const { deadlines } = opened;
    await deadlines.put([until('c', 3), until('a', 1), until('d', 4), until('b', 2)]);
    expect(await deadlines.take(0, NOW_MS + 3, 2)).toEqual([
      { ...at('a'), deadlineMs: NOW_MS + 1 },
      { ...at('b'), deadlineMs: NOW_MS + 2 },
    ]);
    expect(names(await deadlines.take(0, NOW_MS + 3, 2))).toEqual(['c']);
    expect(await deadlines.take(0, NOW_MS + 3, 2)).toEqual([]);
    expect(await deadlines.earliestMs(0)).toBe(NOW_MS + 4);
    expect(await deadlines.count()).toBe(4);
  });

  it('compares fractions of a millisecond', async () => {
    await using opened = await open();
    const { deadlines } = opened;
    await deadlines.put([until('a', 5)]);
    expect(await deadlines.take(0, NOW_MS + 4.75, 9)).toEqual([]);
    expect(await deadlines.take(0, NOW_MS + 5.25, 9)).toHaveLength(1);
  });

  it('lists overdue entries, earliest first and up to a limit, each time', async () => {
    await using opened = await open();
    const { deadlines } = opened;
    await deadlines.put([until('b', 2), until('a', 1), until('c', 3), until('d', 40)]);
    await takeAll(deadlines, 3);
    for (let times = 0; times < 2; times += 1) {
      expect(names(await deadlines.overdue(0, NOW_MS + 2, 9))).toEqual(['a', 'b']);
      expect(names(await deadlines.overdue(0, NOW_MS + 9, 1))).toEqual(['a']);
      expect(names(await deadlines.overdue(0, NOW_MS + 9, 1, 1))).toEqual(['b']);
      expect(names(await deadlines.overdue(0, NOW_MS + 2, 9))).toEqual(['a', 'b']);
    }
  });

  it('follows a deadline that is moved back and forth', async () => {
    await using opened = await open();
    const { deadlines } = opened;
    for (const inMs of [50, 10, 90, 20]) await deadlines.put([until('a', inMs)]);
    expect(await deadlines.earliestMs(0)).toBe(NOW_MS + 20);
    expect(await takeAll(deadlines, 19)).toEqual([]);
    expect(await takeAll(deadlines, 20)).toHaveLength(1);
    expect(await deadlines.earliestMs(0)).toBeNull();
  });

  it('handles 20,000 deadlines at the same millisecond', async () => {
    await using opened = await open();
    const { deadlines } = opened;
    for (let batch = 0; batch < 40; batch += 1) {
      const readings = Array.from({ length: 500 }, (_, n) => until(`k${batch * 500 + n}`, 5));
      await deadlines.put(readings);
    }
    expect((await scanned(deadlines)).length).toBe(20_000);
    const seen = new Set<string>();
    for (;;) {
      const taken = await deadlines.take(0, NOW_MS + 5, 500);
      if (taken.length === 0) break;
      for (const name of names(taken)) seen.add(name);
      await opened.claim(taken.map(claimOf));
    }
    expect(seen.size).toBe(20_000);
    expect(await deadlines.count()).toBe(0);
  });
}

function describeClaims(open: () => Promise<OpenedDeadlines>): void {
  it('forgets a claimed key, tracked or overdue', async () => {
    await using opened = await open();
    const { deadlines } = opened;
    await deadlines.put([until('a', 5), until('b', 7), until('c', 9, 1)]);
    await takeAll(deadlines, 5);
    const claimed = [
      { ...at('a'), deadlineMs: NOW_MS + 5 },
      { ...at('b'), deadlineMs: NOW_MS + 7 },
      { ...at('c', 1), deadlineMs: NOW_MS + 9 },
      { ...at('never seen'), deadlineMs: NOW_MS },
    ];
    await opened.claim(claimed.map(claimOf));
    expect(await deadlines.count()).toBe(0);
  });

  it('keeps the deadline that a key has received since it was claimed', async () => {
    await using opened = await open();
    const { deadlines } = opened;
    await deadlines.put([until('a', 5)]);
    await takeAll(deadlines, 5);
    await deadlines.put([until('a', 60)]);
    await opened.claim([claimOf({ ...at('a'), deadlineMs: NOW_MS + 5 })]);
    expect(await deadlines.find([at('a')])).toEqual([NOW_MS + 60]);
  });

  it('forgets a deadline that was written while its expiration was claimed without one', async () => {
    await using opened = await open();
    const { deadlines } = opened;
    // The offset between the clocks of Redis and the relay is known only to this precision.
    await deadlines.put([until('a', 5), until('b', 80), until('c', 5), until('d', 20)]);
    await takeAll(deadlines, 4);
    const keys = [at('a'), at('b'), at('d')];
    await opened.claim(
      keys.map((key) => aCapturedExpiration({ ...key, detectedAtMs: NOW_MS + 6 })),
    );
    expect(await scanned(deadlines)).toEqual(['b', 'c']);
  });

  it('returns the current deadline of a taken entry, any number of times', async () => {
    await using opened = await open();
    const { deadlines } = opened;
    const keys = [at('a'), at('moved'), at('removed'), at('claimed')];
    await deadlines.put(keys.map(({ key }) => until(key, 5)));
    await takeAll(deadlines, 5);
    await deadlines.put([until('moved', 90)]);
    await deadlines.remove([at('removed')]);
    expect(await deadlines.find([at('claimed')])).toEqual([NOW_MS + 5]);
    await opened.claim([claimOf({ ...at('claimed'), deadlineMs: NOW_MS + 5 })]);
    for (let times = 0; times < 2; times += 1) {
      expect(await deadlines.find(keys)).toEqual([NOW_MS + 5, NOW_MS + 90, null, null]);
    }
    await takeAll(deadlines, 90);
    await deadlines.forget(0);
    expect(await deadlines.find(keys)).toEqual([null, null, null, null]);
  });
}
