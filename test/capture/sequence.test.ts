import { describe, expect, it } from 'vitest';
import { namesOf, Sequence } from '../../src/capture/sequence.js';
import type { ExpiredEvent, KeyEvent } from '../../src/model/vocabulary.js';
import { anExpiredEvent } from '../support/domain.js';

const key = (name: string) => Buffer.from(name);

/** A replica that listens from some point of a sequence on. */
class Replica {
  readonly sequence = new Sequence();
  readonly events: ExpiredEvent[] = [];

  hears(...names: readonly string[]): this {
    for (const name of names) {
      if (/^m\d/.test(name)) this.sequence.mark(name);
      else
        this.events.push(this.sequence.place(anExpiredEvent({ key: key(name) })) as ExpiredEvent);
    }
    return this;
  }

  get names() {
    return this.events.map(namesOf);
  }
}

describe('the names of an expiration', () => {
  it('are its number since the mark before and until the mark after, among those of its key', () => {
    const { names } = new Replica().hears('m1', 'a', 'b', 'a', 'm2', 'a');
    expect(names).toEqual([['m1+0', 'm2-2'], ['m1+0', 'm2-1'], ['m1+1', 'm2-1'], ['m2+0']]);
  });

  it('are none before a mark is heard, and become more with the next one', () => {
    const replica = new Replica().hears('a', 'a');
    expect(replica.names).toEqual([[], []]);
    replica.hears('m1');
    expect(replica.names).toEqual([['m1-2'], ['m1-1']]);
  });

  it('are shared by replicas that began to listen at different times', () => {
    const told = ['m1', 'a', 'b', 'a', 'm2', 'a', 'b', 'm3', 'a', 'm4'];
    for (let from = 0; from < told.length; from += 1) {
      const first = new Replica().hears(...told);
      const later = new Replica().hears(...told.slice(from));
      const same = first.events.slice(-later.events.length || first.events.length);
      for (const [at, event] of later.events.entries()) {
        const shared = namesOf(event).filter((name) => namesOf(same[at] ?? event).includes(name));
        expect(shared, `from ${from}, event ${at}`).toEqual(namesOf(event));
        expect(shared).not.toEqual([]);
      }
    }
  });

  it('are other ones for each expiration of a key', () => {
    const { names } = new Replica().hears('m1', ...'aaa', 'm2', ...'aa', 'm3', 'm4', ...'a', 'm5');
    expect(new Set(names.flat()).size).toBe(names.flat().length);
  });

  it('are none where the relay found the expiration by itself', () => {
    expect(namesOf(anExpiredEvent({ detectedBy: 'recovery' }))).toEqual([]);
  });

  it('do not count across a gap', () => {
    const replica = new Replica().hears('m1', 'a');
    replica.sequence.interrupt();
    replica.hears('a', 'm3', 'a');
    expect(replica.names).toEqual([['m1+0'], ['m3-1'], ['m3+0']]);
  });

  it('are none beyond 100,000 keys between two marks, and then there are some again', () => {
    const many = Array.from({ length: 100_001 }, (_, n) => `key ${n}`);
    const replica = new Replica().hears('m1', ...many, 'key 0', 'm2', 'key 0');
    expect(replica.names[0]).toEqual(['m1+0']);
    expect(replica.names.slice(100_000)).toEqual([[], [], ['m2+0']]);
  });
});

describe('an event is before a mark', () => {
  const changed = (name: string): KeyEvent => {
    return { kind: 'changed', database: 0, key: key(name), detectedAtMs: 0 };
  };

  it('when it was heard before it, whatever else was heard, and also before a gap', () => {
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
    const areBefore = (mark: string | null) => events.map(sequence.isBefore(mark));
    expect(areBefore('m2')).toEqual([true, true, false, false]);
    expect(areBefore('m1')).toEqual([true, true, true, false]);
    expect(areBefore('m9')).toEqual([false, false, false, false]);
    expect(areBefore(null)).toEqual([false, false, false, false]);
    expect(sequence.has('m2')).toBe(true);
    expect(sequence.has('m9')).toBe(false);
  });

  it('never when the relay found it by itself', () => {
    const { sequence } = new Replica().hears('m1', 'm2');
    expect(sequence.isBefore('m2')(changed('a'))).toBe(false);
  });
});
