import { describe, expect, it } from 'vitest';
import { type Heard, Memory } from '../../src/watch/memory.js';
import { anExpiration } from '../support/domain.js';

const heard = (key: string): Heard => ({
  kind: 'expired',
  expiration: anExpiration({ key: Buffer.from(key) }),
  lateMsMax: 0,
});

function keysOf(remembered: readonly Heard[]): string[] {
  return remembered.map((one) =>
    (one.kind === 'expired' ? one.expiration : one.notice).key.toString(),
  );
}

describe('what a replica remembers that does not watch', () => {
  it('is what was heard in the last seconds, in its order', () => {
    const memory = new Memory();
    memory.note(heard('a'), 0);
    memory.note(heard('b'), 5_000);
    memory.note(heard('c'), 8_000);
    expect(keysOf(memory.recall(22_500))).toEqual(['b', 'c']);
  });

  it('is recalled once', () => {
    const memory = new Memory();
    memory.note(heard('a'), 0);
    memory.recall(0);
    expect(memory.recall(0)).toEqual([]);
  });

  it('is forgotten over a gap', () => {
    const memory = new Memory();
    memory.note(heard('a'), 0);
    memory.clear();
    expect(memory.recall(0)).toEqual([]);
  });

  it('is bounded, the youngest kept', () => {
    const memory = new Memory();
    for (let n = 0; n < 100_010; n += 1) memory.note(heard(String(n)), 0);
    const keys = keysOf(memory.recall(0));
    expect(keys).toHaveLength(100_000);
    expect(keys.at(-1)).toBe('100009');
    for (let n = 0; n < 20; n += 1) memory.note(heard('x'.repeat(1024 * 1024)), 0);
    expect(memory.recall(0)).toHaveLength(16);
  });
});
