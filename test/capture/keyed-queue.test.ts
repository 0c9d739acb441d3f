import { describe, expect, it } from 'vitest';
import { type Entry, KeyedQueue } from '../../src/capture/keyed-queue.js';
import type { KeyInDatabase } from '../../src/model/vocabulary.js';
import { ManualClock, settled } from '../support/manual-clock.js';

interface Item extends KeyInDatabase {
  readonly what: string;
}

const never = new AbortController().signal;

const item = (key: string, what: string): Item => ({ database: 0, key: Buffer.from(key), what });
const text = ({ key, what }: Item) => `${what} ${key}`;
const texts = (taken: readonly Entry<Item>[]) => taken.map((entry) => text(entry.item));

/** Items of upper-case names are for `big`; of two `read` in a row, the later one is enough. */
function aQueue() {
  return new KeyedQueue<'big' | 'small', Item>({
    consumers: ['big', 'small'],
    consumerOf: ({ what }) => (what === what.toUpperCase() ? 'big' : 'small'),
    coalesce: (waiting, next) => (waiting.what === 'read' && next.what === 'read' ? next : null),
    clock: new ManualClock(),
  });
}

/** Takes and finishes all items available to `small`, repeatedly. */
async function processed(queue: ReturnType<typeof aQueue>) {
  const slices: string[][] = [];
  while (queue.size > 0) {
    const taken = await queue.take('small', 10, never);
    slices.push(texts(taken));
    queue.finish(taken);
  }
  return slices;
}

describe('a keyed queue', () => {
  it('hands out items in the order of their pushes', async () => {
    const queue = aQueue();
    for (const key of ['c', 'a', 'b']) queue.push(item(key, 'set'));
    expect(texts(await queue.take('small', 2, never))).toEqual(['set c', 'set a']);
    expect(texts(await queue.take('small', 2, never))).toEqual(['set b']);
  });

  it('hands out the next item of a key once the one before is finished', async () => {
    const queue = aQueue();
    for (const what of ['one', 'two', 'three']) queue.push(item('a', what));
    queue.push(item('b', 'other'));
    expect(await processed(queue)).toEqual([['one a', 'other b'], ['two a'], ['three a']]);
    expect(queue.has(item('a', ''))).toBe(false);
  });

  it('keeps the order of a key whose items have different consumers', async () => {
    const queue = aQueue();
    queue.push(item('a', 'READ'));
    queue.push(item('a', 'set'));
    queue.push(item('b', 'set'));
    const small = await queue.take('small', 10, never);
    expect(texts(small)).toEqual(['set b']);
    queue.finish(await queue.take('big', 10, never));
    expect(texts(await queue.take('small', 10, never))).toEqual(['set a']);
  });

  it('treats the same key in two databases as two keys', async () => {
    const queue = aQueue();
    queue.push(item('a', 'one'));
    queue.push({ ...item('a', 'two'), database: 1 });
    expect(texts(await queue.take('small', 10, never))).toEqual(['one a', 'two a']);
  });

  it('coalesces waiting neighbors of a key, and no item that is taken', async () => {
    const queue = aQueue();
    for (const what of ['set', 'read', 'read', 'read']) queue.push(item('a', what));
    expect(queue.size).toBe(2);
    queue.finish(await queue.take('small', 1, never));
    const reading = await queue.take('small', 1, never);
    queue.push(item('a', 'read'));
    expect(queue.size).toBe(2);
    expect(reading[0]?.next?.item.what).toBe('read');
  });

  it('puts the follow-up of an item in front of the other items of its key', async () => {
    const queue = aQueue();
    queue.push(item('a', 'one'));
    queue.push(item('a', 'three'));
    const taken = await queue.take('small', 1, never);
    queue.follow(taken[0] as Entry<Item>, item('a', 'two'));
    queue.finish(taken);
    queue.push(item('a', 'four'));
    expect(await processed(queue)).toEqual([['two a'], ['three a'], ['four a']]);
  });

  it('counts the items and the bytes of the keys of each consumer', async () => {
    const queue = aQueue();
    queue.push(item('abc', 'set'));
    queue.push(item('abc', 'READ'));
    queue.push(item('de', 'set'));
    expect(queue.load('small')).toMatchObject({ count: 2, keyBytes: 5 });
    expect(queue.load('big')).toMatchObject({ count: 1, keyBytes: 3 });
    queue.finish(await queue.take('small', 10, never));
    expect(queue.load('small')).toMatchObject({ count: 0, keyBytes: 0 });
    expect(queue.size).toBe(1);
  });

  it('is drained when all earlier items are finished, regardless of later pushes', async () => {
    const queue = aQueue();
    queue.push(item('a', 'one'));
    let drained = 0;
    const drain = () => queue.drained(never).then(() => (drained += 1));
    void drain();
    queue.push(item('b', 'two'));
    void drain();
    const [one, two] = await queue.take('small', 2, never);
    queue.finish([two as Entry<Item>]);
    await settled();
    expect(drained).toBe(0);
    queue.push(item('c', 'three'));
    queue.follow(one as Entry<Item>, item('a', 'what follows'));
    queue.finish([one as Entry<Item>]);
    await settled();
    expect(drained).toBe(0);
    const [three, after] = await queue.take('small', 2, never);
    expect(texts([three, after] as Entry<Item>[])).toEqual(['three c', 'what follows a']);
    queue.finish([after as Entry<Item>]);
    await settled();
    expect(drained).toBe(2);
    await queue.drained(AbortSignal.abort());
  });

  it('hands out nothing while it is suspended, and returns all items in order when it is reset', async () => {
    const queue = aQueue();
    for (const [key, what] of [
      ['a', 'one'],
      ['b', 'two'],
      ['a', 'THREE'],
    ] as const) {
      queue.push(item(key, what));
    }
    const taken = await queue.take('small', 1, never);
    const drained = queue.drained(never);
    queue.suspend();
    await queue.suspended(never);
    const waiting = queue.take('small', 9, never);
    queue.push(item('c', 'four'));
    await settled();
    expect(queue.reset().map(text)).toEqual(['one a', 'two b', 'THREE a', 'four c']);
    await drained;
    expect(queue.size).toBe(0);
    queue.push(item('a', 'five'));
    queue.finish(taken);
    expect(texts(await waiting)).toEqual(['five a']);
    expect(queue.size).toBe(1);
  });

  it('handles a key that changes a hundred thousand times', async () => {
    const queue = aQueue();
    for (let n = 0; n < 100_000; n += 1) queue.push(item('a', n % 2 === 0 ? 'read' : 'set'));
    let count = 0;
    while (queue.size > 0) {
      const taken = await queue.take('small', 500, never);
      count += taken.length;
      queue.finish(taken);
      if (count === 2_000) break;
    }
    expect(queue.size).toBe(98_000);
  });
});
