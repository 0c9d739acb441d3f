import { describe, expect, it } from 'vitest';
import { namesOf, Sequence } from '../../src/capture/sequence.js';
import type { ExpiredEvent, KeyEvent } from '../../src/model/vocabulary.js';
import { anExpiredEvent } from '../support/domain.js';

/** A replica that listens from a point of a sequence onwards. */
class Replica {
  readonly sequence = new Sequence();
  readonly events: ExpiredEvent[] = [];

  /** Marks, and expirations of keys: in database 0, or `database:key`. */
  receives(...names: readonly string[]): this {
    for (const name of names) {
      if (/^m\d/.test(name)) {
        this.sequence.mark(name);
        continue;
      }
      const [database, key = ''] = name.includes(':') ? name.split(':') : ['0', name];
      const event = anExpiredEvent({ database: Number(database), key: Buffer.from(key) });
      this.events.push(this.sequence.place(event) as ExpiredEvent);
    }
    return this;
  }

  /** The names of events that it captures on arrival. */
  get names() {
    return this.events.map(namesOf);
  }

  /** The names of events that it replays. */
  get replayed() {
    return this.events.map((event) => namesOf({ ...event, isReplayed: true }));
  }
}

describe('the names of an expiration', () => {
  it('are its number since the mark before and until the mark after, in its database', () => {
    const replica = new Replica().receives('m1', 'a', 'b', '3:c', 'a', 'm2', 'a');
    expect(replica.names).toEqual([['m1+0'], ['m1+1'], ['m1+0'], ['m1+2'], ['m2+0']]);
    expect(replica.replayed).toEqual([
      ['m1+0', 'm2-3'],
      ['m1+1', 'm2-2'],
      ['m1+0', 'm2-1'],
      ['m1+2', 'm2-1'],
      ['m2+0'],
    ]);
  });

  it('are missing before a mark is received, and grow with the next one', () => {
    const replica = new Replica().receives('a', 'a');
    expect(replica.names).toEqual([[], []]);
    replica.receives('m1');
    expect(replica.names).toEqual([['m1-2'], ['m1-1']]);
  });

  it('are shared by replicas that began to listen at different times', () => {
    const events = ['m1', 'a', 'b', 'a', 'm2', 'a', 'b', 'm3', 'a', 'm4'];
    for (let from = 0; from < events.length; from += 1) {
      const first = new Replica().receives(...events);
      const later = new Replica().receives(...events.slice(from));
      const offset = first.events.length - later.events.length;
      for (const [at, names] of later.replayed.entries()) {
        expect(names.length, `from ${from}, event ${at}`).toBeGreaterThan(0);
        expect(first.replayed[offset + at]).toEqual(expect.arrayContaining([...names]));
        // An expiration that the first one captured at once has a mark that the later one has received, too, or none.
        const isFirst = later.events[at]?.interval?.before === null;
        expect(names.includes(first.names[offset + at]?.[0] ?? '')).toBe(!isFirst);
      }
    }
  });

  it('differ for each expiration of a key', () => {
    const events = ['m1', ...'aaa', 'm2', ...'aa', 'm3', 'm4', ...'a', 'm5'];
    const names = new Replica().receives(...events).replayed.flat();
    expect(names).toHaveLength(12);
    expect(new Set(names).size).toBe(12);
  });

  it('are missing for an expiration that the relay recovered', () => {
    expect(namesOf(anExpiredEvent({ detectedBy: 'recovery' }))).toEqual([]);
  });

  it('do not count across a gap', () => {
    const replica = new Replica().receives('m1', 'a');
    replica.sequence.interrupt();
    replica.receives('a', 'm3', 'a');
    expect(replica.names).toEqual([['m1+0'], ['m3-1'], ['m3+0']]);
  });
});

describe('an event is before a mark', () => {
  const changed = (name: string): KeyEvent => {
    return { kind: 'changed', database: 0, key: Buffer.from(name), detectedAtMs: 0 };
  };

  it('when it was received before it, in any order of other events, and also before a gap', () => {
    const { sequence } = new Replica();
    const events: KeyEvent[] = [];
    const hear = () => void events.push(sequence.place(changed('a')));
    hear();
    sequence.interrupt();
    hear();
    sequence.mark('m2');
    hear();
    sequence.mark('m1');
    hear();
    const areBefore = (mark: string | null) =>
      events.map(sequence.isBefore(mark === null ? [] : [mark]));
    expect(areBefore('m2')).toEqual([true, true, false, false]);
    expect(areBefore('m1')).toEqual([true, true, true, false]);
    expect(areBefore('m9')).toEqual([false, false, false, false]);
    expect(areBefore(null)).toEqual([false, false, false, false]);
    expect(sequence.has('m2')).toBe(true);
    expect(sequence.has('m9')).toBe(false);
  });

  it('never when the relay recovered it', () => {
    const { sequence } = new Replica().receives('m1', 'm2');
    expect(sequence.isBefore(['m2'])(changed('a'))).toBe(false);
  });
});
