import { describe, expect, it } from 'vitest';
import type { KeyInDatabase, KeyReading } from '../../src/vocabulary.js';
import { type Heard, type HeardNotice, Memory } from '../../src/watch/memory.js';
import { anExpiration } from '../support/domain.js';

const heard = (key: string): Heard => ({
  kind: 'expired',
  expiration: anExpiration({ key: Buffer.from(key) }),
  lateMsMax: 0,
});

const changed = (key: string, heardAtMs: number): HeardNotice => ({
  kind: 'notice',
  notice: { kind: 'changed', database: 0, key: Buffer.from(key) },
  heardAtMs,
  deadlineMs: null,
});

const until = ({ database, key }: KeyInDatabase): KeyReading => ({
  database,
  key,
  life: 'until',
  deadlineMs: 900,
  readAtMs: 500,
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

  it('says which changes are unread, the last of each key, and keeps the deadlines that are read', () => {
    const memory = new Memory();
    memory.note(changed('settled', 100), 0);
    memory.note(changed('again', 110), 0);
    memory.note(changed('ended', 120), 0);
    memory.note(heard('ended'), 0);
    memory.note(changed('again', 130), 0);
    memory.note(changed('moved', 140), 0);
    memory.note(changed('young', 150), 0);
    const unread = memory.unread(100, 140, 9);
    expect(keysOf(unread)).toEqual(['again', 'moved']);
    expect(keysOf(memory.unread(100, 150, 1))).toEqual(['again']);
    memory.note(changed('moved', 145), 0);
    memory.read(
      unread,
      unread.map(({ notice }) => until(notice)),
    );
    expect(keysOf(memory.unread(100, 150, 9))).toEqual(['young', 'moved']);
    const deadlines = memory
      .recall(0)
      .flatMap((one) => (one.kind === 'notice' && one.deadlineMs !== null ? [one] : []));
    expect(deadlines).toEqual([{ ...changed('again', 130), deadlineMs: 900 }]);
    expect(memory.isUnread).toBe(false);
  });
});
