import { describe, expect, it } from 'vitest';
import { untilAborted } from '../../src/lib/clock.js';
import { Condition } from '../../src/lib/condition.js';
import { GATHER_MS } from '../../src/watch/index-updater.js';
import { at, NOW_MS, until } from '../deadlines/deadlines.contract.js';
import { aCapturedExpiration } from '../support/domain.js';
import { aWatch } from '../support/watch.js';

/** A watch of a database that has been watched before. */
async function watching(given: Parameters<typeof aWatch>[0] = {}) {
  const under = aWatch(given);
  for (const database of given.databases ?? [0]) under.keys.markers.add(database);
  await under.begin();
  return under;
}

const changed = (under: ReturnType<typeof aWatch>, ...names: string[]) =>
  under.receive('changed', ...names.map((name) => at(name)));

describe('a watch that begins', () => {
  it('finds the deadlines of the keys that exist, and of no others', async () => {
    const under = aWatch();
    under.keys.set('order:1', 60_000);
    under.keys.set('order:2', null);
    under.keys.set('session:1', 60_000);
    await under.begin();
    expect(await under.known('order:1', 'order:2', 'session:1')).toEqual([60_000, null, null]);
    expect(await under.index.count()).toBe(1);
    expect(under.logged('swept')).toMatchObject([{ keys: 2 }]);
  });

  it('reads the keys of the index again: a deleted, persisted or prolonged key is no expiration', async () => {
    const under = aWatch();
    under.keys.markers.add(0);
    await under.index.put(['order:1', 'order:2', 'order:3'].map((key) => until(key, 5_000)));
    under.keys.set('order:2', null);
    under.keys.set('order:3', 90_000);
    await under.begin();
    expect(await under.known('order:1', 'order:2', 'order:3')).toEqual([null, null, 90_000]);
    await under.clock.advance(20_000);
    expect(under.recovered).toEqual([]);
  });

  it('recovers a key that is missing after its deadline, once', async () => {
    const under = aWatch();
    under.keys.markers.add(0);
    await under.index.put([until('order:1', -5_000)]);
    await under.begin();
    await under.clock.advance(20_000);
    expect(under.recovered.map(({ key }) => key)).toEqual(['order:1']);
    expect(await under.index.count()).toBe(0);
  });

  it('recovers an earlier expiration although its key is set again before the capture', async () => {
    const under = aWatch();
    under.keys.markers.add(0);
    await under.index.put([until('order:1', -5_000), until('order:2', -5_000)]);
    await under.index.take(0, NOW_MS, 1);
    let isSetAgain = false;
    under.gates.barrier = async () => {
      if (isSetAgain) return;
      isSetAgain = true;
      for (const key of ['order:1', 'order:2']) under.keys.set(key, 60_000);
      void changed(under, 'order:1', 'order:2');
    };
    await under.begin();
    await under.clock.advance(20_000);
    expect(under.recovered.map(({ key, atMs }) => `${key} ${atMs}`).sort()).toEqual([
      'order:1 0',
      'order:2 0',
    ]);
    expect(await under.known('order:1', 'order:2')).toEqual([60_000, 60_000]);
  });

  it('recovers no key whose deadline was extended before, even if it is touched afterwards', async () => {
    const under = aWatch();
    under.keys.markers.add(0);
    await under.index.put([until('order:1', -5_000)]);
    under.keys.set('order:1', 60_000);
    await under.begin();
    under.keys.set('order:1', 90_000);
    await changed(under, 'order:1');
    await under.clock.advance(20_000);
    expect(under.recovered).toEqual([]);
    expect(await under.known('order:1')).toEqual([90_000]);
  });

  it('distinguishes removals from expirations once it has read all keys of the index', async () => {
    const under = aWatch();
    under.keys.markers.add(0);
    expect(under.trust.tellsRemovals(at('order:1'))).toBe(false);
    under.keys.tellsRemovals = true;
    under.keys.set('order:1', 60_000);
    await under.index.put([until('order:1', 90_000)]);
    under.keys.trouble = new Error('not now');
    await under.begin();
    expect(under.trust.tellsRemovals(at('order:1'))).toBe(false);
    under.keys.trouble = null;
    await under.clock.advance(1_000);
    expect(under.trust.tellsRemovals(at('order:1'))).toBe(true);
    expect(under.trust.tellsRemovals(at('order:1', 1))).toBe(false);
    under.trust.lose(at('order:1'));
    expect(under.trust.tellsRemovals(at('order:1'))).toBe(false);
  });

  it('and cannot read logs it once, and begins again until it can', async () => {
    const under = aWatch();
    under.keys.markers.add(0);
    under.keys.set('order:1', 60_000);
    under.keys.trouble = new Error('not now');
    await under.begin();
    await under.clock.advance(5_000);
    expect(under.logged('watch_failed')).toMatchObject([{ error: 'not now' }]);
    under.keys.trouble = null;
    await under.clock.advance(1_000);
    expect(await under.known('order:1')).toEqual([60_000]);
  });
});

describe('a watch', () => {
  it('reads a key just after its deadline, and not before', async () => {
    const under = await watching();
    under.keys.set('order:1', 9_500);
    await changed(under, 'order:1');
    const before = under.keys.readTimes('order:1').length;
    await under.clock.advance(9_500 - GATHER_MS);
    expect(under.keys.readTimes('order:1')).toHaveLength(before);
    await under.clock.advance(1);
    expect(under.keys.readTimes('order:1').slice(before)).toEqual([9_501]);
  });

  it('reads a key in time whose deadline is earlier than the one that it waits for', async () => {
    const under = await watching();
    under.keys.set('order:1', 40_000);
    await changed(under, 'order:1');
    await under.clock.advance(10_000);
    under.keys.set('order:2', 10_030);
    await changed(under, 'order:2');
    await under.clock.advance(100);
    expect(under.keys.readTimes('order:2')).toContain(10_031);
  });

  it('waits for the new deadline of a key that got one without a notification', async () => {
    const under = await watching();
    under.keys.set('order:1', 500);
    await changed(under, 'order:1');
    under.keys.set('order:1', 2_500);
    await under.clock.advance(1_000);
    expect(await under.known('order:1')).toEqual([2_500]);
    expect(under.recovered).toEqual([]);
    await under.clock.advance(1_501);
    expect(under.keys.readTimes('order:1').at(-1)).toBe(2_501);
  });

  it('sweeps the index and the keys every minute', async () => {
    const under = await watching();
    await under.index.put([until('order:1', 300_000)]);
    under.keys.set('order:2', 300_000);
    const sweeps = under.keys.sweeps;
    await under.clock.advance(59_000);
    expect(under.keys.sweeps).toBe(sweeps);
    await under.clock.advance(2_000);
    expect(under.keys.sweeps).toBe(sweeps + 1);
    expect(await under.known('order:1', 'order:2')).toEqual([null, 300_000]);
    expect(under.recovered).toEqual([]);
  });

  it('keeps databases apart', async () => {
    const under = await watching({ databases: [0, 3] });
    under.keys.set('order:1', 1_000, 3);
    await under.receive('changed', at('order:1', 3));
    expect(await under.index.find([at('order:1', 3), at('order:1')])).toEqual([
      NOW_MS + 1_000,
      null,
    ]);
    under.keys.flush(0);
    await under.clock.advance(900);
    expect(await under.index.count()).toBe(1);
    await under.clock.advance(101);
    expect(under.keys.readTimes('order:1').at(-1)).toBe(1_001);
  });

  it('that has ended reads nothing more, and waits for nothing', async () => {
    const under = await watching();
    under.keys.set('order:1', 1_000);
    await changed(under, 'order:1');
    await under.watch.end();
    const reads = under.keys.reads.length;
    await under.clock.advance(100_000);
    expect(under.keys.reads).toHaveLength(reads);
    expect(under.clock.timers).toBe(0);
    await changed(under, 'order:1');
    expect(under.keys.reads).toHaveLength(reads);
  });

  it('has ended only when its reads in progress are over', async () => {
    const under = await watching();
    const reached = new AbortController();
    under.gates.barrier = () => untilAborted(reached.signal);
    under.keys.set('order:1', 1_000);
    await changed(under, 'order:1');
    await under.clock.advance(3_000);
    let isOver = false;
    const over = under.watch.end().then(() => {
      isOver = true;
    });
    await under.clock.advance(10_000);
    expect(isOver).toBe(false);
    reached.abort();
    await over;
    expect(under.recovered).toEqual([]);
  });

  it('continues where it ended when it begins again', async () => {
    const under = await watching();
    under.keys.set('order:1', 1_000);
    await changed(under, 'order:1');
    await under.watch.end();
    await under.clock.advance(5_000);
    expect(under.recovered).toEqual([]);
    await under.begin();
    await under.clock.advance(5_000);
    expect(under.recovered.map(({ key }) => key)).toEqual(['order:1']);
  });
});

describe('a changed key', () => {
  it('is read and stored in the index', async () => {
    const under = await watching();
    under.keys.set('order:1', 30_000);
    await changed(under, 'order:1');
    under.keys.set('order:1', null);
    under.keys.set('order:2', 40_000);
    await changed(under, 'order:1', 'order:2');
    expect(await under.known('order:1', 'order:2')).toEqual([null, 40_000]);
  });

  it('counts removals of the primary, and none of a server that was demoted', async () => {
    const under = await watching();
    under.keys.set('order:1', 60_000);
    under.keys.set('order:2', 60_000);
    await changed(under, 'order:1', 'order:2');
    under.keys.delete('order:1');
    await under.receive('removed', at('order:1'));
    under.keys.demoted = new Error('demoted');
    await under.receive('removed', at('order:2'));
    expect(await under.known('order:1', 'order:2')).toEqual([null, 60_000]);
    await under.watch.end();
    under.keys.demoted = null;
    await under.receive('removed', at('order:2'));
    expect(await under.known('order:2')).toEqual([60_000]);
  });

  it('waits until it is known that the database was not emptied', async () => {
    const under = aWatch();
    under.keys.set('order:1', 30_000);
    under.keys.trouble = new Error('not now');
    await under.begin();
    let isOver = false;
    const over = changed(under, 'order:1').then(() => {
      isOver = true;
    });
    await under.clock.advance(3_000);
    expect(isOver).toBe(false);
    under.keys.trouble = null;
    await under.clock.advance(1_000);
    await over;
    expect(await under.known('order:1')).toEqual([30_000]);
  });

  it('is left to an immediate sweep when it cannot be read', async () => {
    const under = await watching();
    under.keys.set('order:1', 30_000);
    under.keys.trouble = new Error('BUSY Redis is busy running a script');
    await changed(under, 'order:1');
    expect(await under.index.count()).toBe(0);
    under.keys.trouble = null;
    await under.clock.advance(5_000);
    expect(await under.known('order:1')).toEqual([30_000]);
  });

  it('is stored as soon as that is possible', async () => {
    const under = await watching();
    under.keys.set('order:1', 30_000);
    under.index.trouble = new Error('the state Redis is away');
    const applied = changed(under, 'order:1');
    await under.clock.advance(300);
    expect(under.logged('capture_failed').length).toBeGreaterThan(0);
    under.index.trouble = null;
    await under.clock.advance(500);
    await applied;
    expect(await under.known('order:1')).toEqual([30_000]);
  });
});

describe('a database that was emptied', () => {
  it('is not reported for one that was never watched before: its marker is written', async () => {
    const under = aWatch();
    await under.begin();
    expect(under.did).toEqual(['forgotten 0: 0', 'marker 0']);
    expect(under.logged('database_emptied')).toEqual([]);
  });

  it('before the watch began: the index is cleared, and this is logged', async () => {
    const under = aWatch();
    await under.index.put([until('order:1', -5_000), until('order:2', 5_000)]);
    await under.begin();
    expect(under.did).toEqual(['forgotten 0: 2', 'marker 0']);
    expect(under.logged('database_emptied')).toMatchObject([{ database: 0, deadlines: 2 }]);
    await under.clock.advance(20_000);
    expect(under.recovered).toEqual([]);
  });

  it('meanwhile is noticed within five seconds, and all keys are read again at once', async () => {
    const under = await watching();
    under.keys.set('order:1', 60_000);
    await changed(under, 'order:1');
    await under.clock.advance(10_500);
    const sweeps = under.keys.sweeps;
    under.keys.flush();
    under.keys.set('order:2', 60_000);
    await under.clock.advance(5_000);
    expect(under.did).toEqual(['forgotten 0: 1', 'marker 0']);
    expect(under.logged('database_emptied')).toMatchObject([{ database: 0, deadlines: 1 }]);
    expect(under.keys.sweeps).toBe(sweeps + 1);
    expect(await under.known('order:1', 'order:2')).toEqual([null, 60_000]);
  });

  it('is logged even if the index had none of its keys', async () => {
    const under = await watching();
    under.keys.flush();
    await under.clock.advance(5_000);
    expect(under.logged('database_emptied')).toMatchObject([{ deadlines: 0 }]);
  });

  it('causes no recovery of the keys that became due since', async () => {
    const under = await watching();
    for (const key of ['order:1', 'order:2']) under.keys.set(key, 1_000);
    await changed(under, 'order:1', 'order:2');
    await under.clock.advance(900);
    under.keys.flush();
    await under.clock.advance(20_000);
    expect(under.recovered).toEqual([]);
    expect(await under.index.count()).toBe(0);
    expect(under.logged('database_emptied')).toMatchObject([{ deadlines: 2 }]);
  });

  it('causes no recovery while notifications are still awaited', async () => {
    const under = await watching();
    under.keys.set('order:1', 1_100);
    await changed(under, 'order:1');
    await under.clock.advance(2_200);
    // The caller that found the key missing asks next.
    under.gates.barrier = async () => {
      under.gates.barrier = async () => {};
      under.keys.flush();
    };
    await under.clock.advance(20_000);
    expect(under.recovered).toEqual([]);
    expect(under.logged('database_emptied')).toMatchObject([{ deadlines: 1 }]);
  });
});

describe('a key that is missing after its deadline, without a notification', () => {
  /** One that is due in a second. */
  async function due() {
    const under = await watching();
    under.keys.set('order:1', 1_000);
    await changed(under, 'order:1');
    return under;
  }

  it('is recovered after a second, at the time when it was found', async () => {
    const under = await due();
    await under.clock.advance(1_999);
    expect(under.recovered).toEqual([]);
    await under.clock.advance(1_001);
    expect(under.recovered.map(({ key }) => key)).toEqual(['order:1']);
    expect(under.recovered[0]?.atMs).toBeGreaterThanOrEqual(2_000);
    expect(under.recovered[0]?.atMs).toBeLessThanOrEqual(2_500);
    await under.clock.advance(10_000);
    expect(under.recovered).toHaveLength(1);
  });

  it('is not recovered when its expiration is claimed before that', async () => {
    const under = await due();
    await under.clock.advance(1_500);
    await under.index.consume([
      aCapturedExpiration({ ...at('order:1'), deadlineMs: NOW_MS + 1_000 }),
    ]);
    await under.clock.advance(10_000);
    expect(under.recovered).toEqual([]);
  });

  it.each(['barrier', 'drained'] as const)(
    'is recovered only once all notifications are received and stored (%s)',
    async (gate) => {
      const under = await due();
      const open = new AbortController();
      under.gates[gate] = () => untilAborted(open.signal);
      await under.clock.advance(10_000);
      expect(under.recovered).toEqual([]);
      open.abort();
      await under.clock.advance(2_500);
      expect(under.recovered.map(({ key }) => key)).toEqual(['order:1']);
    },
  );

  it('is not recovered when it was set again', async () => {
    const under = await due();
    await under.clock.advance(1_500);
    under.keys.set('order:1', 30_000);
    await under.clock.advance(10_000);
    expect(under.recovered).toEqual([]);
    expect(await under.known('order:1')).toEqual([30_000]);
  });

  it('is read once more when it only seemed missing while Redis did not expire keys', async () => {
    const under = await due();
    const resumed = new AbortController();
    await under.clock.advance(1_900);
    under.keys.writable = () => untilAborted(resumed.signal);
    await under.clock.advance(2_000);
    under.keys.set('order:1', 30_000);
    resumed.abort();
    await under.clock.advance(10_000);
    expect(under.recovered).toEqual([]);
    expect(await under.known('order:1')).toEqual([30_000]);
  });

  it('is left to the next term when this one ends meanwhile', async () => {
    const under = await due();
    under.gates.drained = untilAborted;
    await under.clock.advance(3_000);
    await under.watch.end();
    under.gates.drained = async () => {};
    await under.clock.advance(3_000);
    expect(under.recovered).toEqual([]);
    await under.begin();
    await under.clock.advance(3_000);
    expect(under.recovered.map(({ key }) => key)).toEqual(['order:1']);
  });
});

describe('a watch settles a mark', () => {
  it('once all events before it are stored, and writes marks meanwhile', async () => {
    const { begin, clock, index, gates, marks } = aWatch();
    const stored = new Condition();
    gates.drained = (signal) => stored.wait(clock, null, signal);
    await begin();
    await clock.advance(1_600);
    expect(marks.written).toBe(3);
    expect(index.settled).toEqual([]);
    gates.drained = async () => {};
    stored.notifyAll();
    await clock.advance(0);
    expect(index.settled).toEqual(['mark 1']);
    await clock.advance(1_000);
    expect(index.settled).toEqual(['mark 1', 'mark 4', 'mark 5']);
  });

  it('not where no mark is received', async () => {
    const { begin, clock, index, marks } = aWatch();
    marks.arrive = false;
    await begin();
    await clock.advance(2_000);
    expect(index.settled).toEqual([]);
  });

  it('not where they could not be stored, nor once it has ended', async () => {
    const { watch, begin, clock, index } = aWatch();
    await begin();
    index.trouble = new Error('not now');
    await clock.advance(2_000);
    expect(index.settled).toEqual([]);
    index.trouble = null;
    await clock.advance(600);
    expect(index.settled).not.toEqual([]);
    const before = [...index.settled];
    await watch.end();
    await clock.advance(5_000);
    expect(index.settled).toEqual(before);
  });
});
