import { describe, expect, it } from 'vitest';
import { MemoryValues } from '../../src/values/memory-values.js';
import { describeValues, due, texts, worth } from './values.contract.js';

describeValues('values in memory', async () => ({
  values: new MemoryValues(),
  [Symbol.asyncDispose]: async () => undefined,
}));

describe('values in memory', () => {
  it('have a limit on memory: the oldest are removed first', async () => {
    const values = new MemoryValues(2_000);
    const keys = ['a', 'b', 'c'].map((name) => due(name, 5));
    for (const key of keys) await values.keep([worth('x'.repeat(300), key)]);
    expect((await texts(values, ...keys)).map((text) => text !== null)).toEqual([
      false,
      true,
      true,
    ]);
  });

  it('count a value once, even if it is kept repeatedly', async () => {
    const values = new MemoryValues(2_000);
    const [a, b] = [due('a', 5), due('b', 5)];
    await values.keep([worth('x', a)]);
    for (let n = 0; n < 50; n += 1) await values.keep([worth('x'.repeat(300), b)]);
    expect(await texts(values, a)).toEqual(['x']);
  });
});
