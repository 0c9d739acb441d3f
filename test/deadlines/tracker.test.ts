import { describe, expect, it } from 'vitest';
import { MemoryDeadlines } from '../../src/deadlines/memory-deadlines.js';
import { type KeyReader, Tracker } from '../../src/deadlines/tracker.js';
import type { Deadline, KeyReading } from '../../src/model/vocabulary.js';
import { aCapturedExpiration } from '../support/domain.js';
import { settled } from '../support/manual-clock.js';
import { at, endless, gone, NOW_MS, until } from './deadlines.contract.js';

function aTracker() {
  const deadlines = new MemoryDeadlines();
  const tracker = new Tracker(deadlines);
  const earliest = () => tracker.earliest(0).ms - NOW_MS;
  return { deadlines, tracker, earliest };
}

const reader = (...readings: readonly KeyReading[]): KeyReader => ({
  read: async (keys) =>
    keys.map((key) => readings.find((reading) => reading.key.equals(key.key)) ?? gone('')),
});

/** A reader whose replies are given by a test, one after another. */
function slowReader() {
  const answers: ((readings: readonly KeyReading[]) => void)[] = [];
  const read: KeyReader['read'] = () => new Promise((resolve) => answers.push(resolve));
  return { reader: { read }, answer: (...readings: KeyReading[]) => answers.shift()?.(readings) };
}

describe('a tracker', () => {
  it('stores the state of keys, and returns the earliest of their deadlines', async () => {
    const { deadlines, tracker, earliest } = aTracker();
    await deadlines.put([until('b', 9), until('c', 9)]);
    const keys = [at('a'), at('b'), at('c')];
    await tracker.reread(keys, reader(until('a', 5), endless('b'), gone('c')));
    expect(await deadlines.find(keys)).toEqual([NOW_MS + 5, null, null]);
    expect(earliest()).toBe(5);
  });

  it('stores the deadline of an earlier reading at which a key has expired since', async () => {
    const { deadlines, tracker, earliest } = aTracker();
    const before = [
      { ...at('a'), readDeadlineMs: NOW_MS + 5 },
      { ...at('b'), readDeadlineMs: NOW_MS + 5 },
      { ...at('c'), readDeadlineMs: NOW_MS + 90 },
    ];
    const readings = await tracker.reread(
      before,
      reader(gone('a', 6), until('b', 50), gone('c', 6)),
    );
    expect(readings.map(({ ttl }) => ttl)).toEqual(['volatile', 'volatile', 'missing']);
    expect(await deadlines.find(before)).toEqual([NOW_MS + 5, NOW_MS + 50, null]);
    expect(earliest()).toBe(5);
  });

  it('does not restore the entry of a missing key that has been claimed since it was listed', async () => {
    const { deadlines, tracker, earliest } = aTracker();
    await deadlines.put([until('a', 5)]);
    const listed = [{ ...at('a'), deadlineMs: NOW_MS + 5 }];
    await deadlines.remove(listed);
    await tracker.reread(listed, reader(gone('a', 6)));
    expect(await deadlines.count()).toBe(0);
    expect(earliest()).toBe(Number.POSITIVE_INFINITY);
  });

  it('leaves the entry of a nudged and missing key to the replica that claims it', async () => {
    const { deadlines, tracker } = aTracker();
    await deadlines.put([until('a', 5), until('b', 5)]);
    const due = await deadlines.take(0, NOW_MS + 5, 9);
    await tracker.readDue(due, reader(gone('a', 6), until('b', 5)));
    expect(await deadlines.find([at('a'), at('b')])).toEqual([NOW_MS + 5, NOW_MS + 5]);
    expect(await deadlines.earliestMs(0)).toBe(NOW_MS + 5);
  });

  it('keeps the entry of a key that may have expired and was set again', async () => {
    const { deadlines, tracker } = aTracker();
    await deadlines.put([until('a', 5), until('b', 5)]);
    const due = await deadlines.take(0, NOW_MS + 5, 9);
    await tracker.readDue(due, reader(until('a', 90), endless('b')));
    expect(await deadlines.find([at('a'), at('b')])).toEqual([NOW_MS + 5, NOW_MS + 5]);
    expect(await deadlines.earliestMs(0)).toBeNull();
  });

  describe('that has taken entries for their nudges', () => {
    async function taken() {
      const made = aTracker();
      await made.deadlines.put([until('a', 5), until('b', 6)]);
      await made.tracker.take(0, NOW_MS + 9, 9);
      const asked: string[] = [];
      const of = made.deadlines.find.bind(made.deadlines);
      made.deadlines.find = (keys) => {
        asked.push(...keys.map(({ key }) => key.toString()));
        return of(keys);
      };
      return { ...made, asked, find: () => made.tracker.find([at('a'), at('b'), at('c')]) };
    }

    it('returns their deadlines without reading the index', async () => {
      const { find, asked } = await taken();
      expect(await find()).toEqual([NOW_MS + 5, NOW_MS + 6, null]);
      expect(asked).toEqual(['c']);
    });

    it.each([
      ['was removed', (tracker: Tracker) => tracker.remove([at('a')]), null],
      [
        'changed',
        (tracker: Tracker) => tracker.reread([at('a')], reader(until('a', 8))),
        NOW_MS + 8,
      ],
      ['was captured', async (tracker: Tracker) => tracker.invalidate([at('a')]), NOW_MS + 5],
    ])('reads the index for one that %s since', async (_, happens, deadlineMs) => {
      const { tracker, find, asked } = await taken();
      await happens(tracker);
      expect(await find()).toEqual([deadlineMs, NOW_MS + 6, null]);
      expect(asked).toEqual(['a', 'c']);
    });

    it('reads the index for one that was captured while it was being taken', async () => {
      const { deadlines, tracker, find, asked } = await taken();
      await deadlines.put([until('c', 7)]);
      const taking = tracker.take(0, NOW_MS + 9, 9);
      tracker.invalidate([at('c')]);
      await taking;
      await find();
      expect(asked).toEqual(['c']);
    });

    it('reads the index for all of them once another replica may have written it', async () => {
      const { tracker, find, asked } = await taken();
      tracker.clear();
      await find();
      expect(asked).toEqual(['a', 'b', 'c']);
    });
  });

  it('forgets removed keys', async () => {
    const { deadlines, tracker } = aTracker();
    await deadlines.put([until('a', 5)]);
    await tracker.remove([at('a')]);
    expect(await deadlines.count()).toBe(0);
  });

  it.each([
    ['removed', (tracker: Tracker) => tracker.remove([at('a')])],
    ['claimed', async (tracker: Tracker) => tracker.invalidate([at('a')])],
  ])('does not restore a key from an old reading that was %s meanwhile', async (_, happens) => {
    const { deadlines, tracker } = aTracker();
    const slow = slowReader();
    const sweeping = tracker.reread([at('a'), at('b')], slow.reader);
    await happens(tracker);
    slow.answer(until('a', 5), until('b', 5));
    await settled();
    expect(await deadlines.find([at('a'), at('b')])).toEqual([null, NOW_MS + 5]);
    // Read once more: it may exist again.
    slow.answer(gone('a'));
    await sweeping;
    expect(await deadlines.count()).toBe(1);
  });

  it('does not write a reading from before an expiration whose deadline is looked up', async () => {
    const { deadlines, tracker } = aTracker();
    await deadlines.put([until('a', 900)]);
    const slow = slowReader();
    const sweeping = tracker.reread([at('a')], slow.reader);
    expect(await tracker.find([at('a')])).toEqual([NOW_MS + 900]);
    slow.answer(until('a', 5));
    await settled();
    // Capture consumes the entry that it has found, and no other.
    expect(await deadlines.find([at('a')])).toEqual([NOW_MS + 900]);
    slow.answer(gone('a', 6));
    await sweeping;
    expect(await deadlines.count()).toBe(0);
  });

  it('writes no reading after a capture that begins in any microtask', async () => {
    for (let ticks = 0; ticks < 20; ticks += 1) {
      const { deadlines, tracker } = aTracker();
      const slow = slowReader();
      const sweeping = tracker.reread([at('a')], slow.reader);
      slow.answer(until('a', 5));
      for (let tick = 0; tick < ticks; tick += 1) await null;
      tracker.invalidate([at('a')]);
      await deadlines.consume([aCapturedExpiration({ ...at('a'), deadlineMs: null })]);
      await settled();
      expect(await deadlines.count(), `after ${ticks} microtasks`).toBe(0);
      slow.answer(gone('a', 6));
      await sweeping;
    }
  });

  it('keeps no deadline after a capture that begins in any microtask', async () => {
    for (let ticks = 0; ticks < 20; ticks += 1) {
      const { deadlines, tracker } = aTracker();
      await deadlines.put([until('a', 5)]);
      let answer: (taken: readonly Deadline[]) => void = () => undefined;
      deadlines.take = () => new Promise((resolve) => (answer = resolve));
      const taking = tracker.take(0, NOW_MS + 9, 9);
      answer([{ ...at('a'), deadlineMs: NOW_MS + 5 }]);
      for (let tick = 0; tick < ticks; tick += 1) await null;
      tracker.invalidate([at('a')]);
      await deadlines.consume([aCapturedExpiration({ ...at('a'), deadlineMs: null })]);
      await taking;
      expect(await tracker.find([at('a')]), `after ${ticks} microtasks`).toEqual([null]);
    }
  });

  it('does not replace a newer reading with an older one', async () => {
    const { deadlines, tracker } = aTracker();
    const slow = slowReader();
    const sweeping = tracker.reread([at('a'), at('b')], slow.reader);
    // A life that was shortened meanwhile.
    await tracker.reread([at('a')], reader(until('a', 3)));
    slow.answer(until('a', 900), until('b', 5));
    await settled();
    expect(await deadlines.find([at('a'), at('b')])).toEqual([NOW_MS + 3, NOW_MS + 5]);
    slow.answer(until('a', 3));
    await sweeping;
    expect(await deadlines.find([at('a')])).toEqual([NOW_MS + 3]);
  });

  it('treats a key of another database as another key', async () => {
    const { deadlines, tracker } = aTracker();
    const slow = slowReader();
    const sweeping = tracker.reread([at('a')], slow.reader);
    await tracker.remove([at('a', 1)]);
    slow.answer(until('a', 5));
    await sweeping;
    expect(await deadlines.count()).toBe(1);
  });

  it('rejects when keys cannot be read, and keeps no state of it', async () => {
    const { tracker } = aTracker();
    const read = () => Promise.reject(new Error('away'));
    await expect(tracker.reread([at('a')], { read })).rejects.toThrow('away');
    tracker.invalidate([at('a')]);
    await tracker.reread([at('a')], reader(until('a', 5)));
  });
});
