import { describe, expect, it } from 'vitest';
import type {
  ChangedEvent,
  KeyEvent,
  KeyInDatabase,
  KeyReading,
} from '../../src/model/vocabulary.js';
import { ReplayBuffer } from '../../src/watch/replay-buffer.js';
import { anExpiredEvent } from '../support/domain.js';

const expired = (key: string): KeyEvent => anExpiredEvent({ key: Buffer.from(key) });

const changed = (key: string, detectedAtMs: number): ChangedEvent => ({
  kind: 'changed',
  database: 0,
  key: Buffer.from(key),
  detectedAtMs,
});

const until = ({ database, key }: KeyInDatabase): KeyReading => ({
  database,
  key,
  ttl: 'volatile',
  deadlineMs: 900,
  readAtMs: 500,
});

const keysOf = (keys: readonly KeyInDatabase[]) => keys.map(({ key }) => key.toString());

describe('a replay buffer', () => {
  it('holds the events of the last seconds, in order', () => {
    const buffer = new ReplayBuffer();
    buffer.append(expired('a'), 0, false);
    buffer.append(expired('b'), 5_000, false);
    buffer.append(expired('c'), 8_000, false);
    buffer.dropOld(22_500);
    expect(keysOf(buffer.drain())).toEqual(['b', 'c']);
  });

  it('holds events of any age while no other replica captures, and expires them from then on', () => {
    for (const [untilMs, left] of [
      [80_000, ['earlier', 'a', 'b', 'c']],
      [80_001, ['c']],
    ] as const) {
      const buffer = new ReplayBuffer();
      buffer.append(expired('a'), 0, true);
      buffer.append(expired('b'), 30_000, true);
      buffer.prepend([expired('earlier')]);
      buffer.dropOld(60_000);
      buffer.append(expired('c'), 60_001, false);
      buffer.dropOld(untilMs);
      expect(keysOf(buffer.drain())).toEqual(left);
    }
  });

  it('names unread changes that are put in front, unless a later event of the key follows', () => {
    const buffer = new ReplayBuffer();
    buffer.append(expired('b'), 0, false);
    buffer.append(changed('c', 30), 0, false);
    const isRead = { ...changed('d', 9), readDeadlineMs: 900 };
    buffer.prepend([changed('a', 10), changed('b', 20), changed('c', 25), isRead]);
    expect(buffer.unread(() => false, 99, 9)).toEqual([changed('a', 10), changed('c', 30)]);
  });

  it('is drained once', () => {
    const buffer = new ReplayBuffer();
    buffer.append(expired('a'), 0, false);
    buffer.drain();
    expect(buffer.drain()).toEqual([]);
  });

  it('is cleared at a gap', () => {
    const buffer = new ReplayBuffer();
    buffer.append(expired('a'), 0, false);
    buffer.clear();
    expect(buffer.drain()).toEqual([]);
  });

  it('is bounded, and keeps the youngest events', () => {
    const buffer = new ReplayBuffer();
    for (let n = 0; n < 100_010; n += 1) buffer.append(expired(String(n)), 0, false);
    const keys = keysOf(buffer.drain());
    expect(keys).toHaveLength(100_000);
    expect(keys.at(-1)).toBe('100009');
    for (let n = 0; n < 20; n += 1) buffer.append(expired('x'.repeat(1024 * 1024)), 0, false);
    expect(buffer.drain()).toHaveLength(16);
  });

  it('names the last unread change of each key, and keeps the deadlines that are read', () => {
    const buffer = new ReplayBuffer();
    buffer.append(changed('settled', 100), 0, false);
    buffer.append(changed('again', 110), 0, false);
    buffer.append(changed('ended', 120), 0, false);
    buffer.append(expired('ended'), 0, false);
    buffer.append(changed('again', 130), 0, false);
    buffer.append(changed('moved', 140), 0, false);
    buffer.append(changed('young', 150), 0, false);
    const isSettled = ({ detectedAtMs }: KeyEvent) => detectedAtMs <= 100;
    const unread = buffer.unread(isSettled, 140, 9);
    expect(keysOf(unread)).toEqual(['again', 'moved']);
    expect(keysOf(buffer.unread(isSettled, 150, 1))).toEqual(['again']);
    buffer.append(changed('moved', 145), 0, false);
    buffer.read(unread, unread.map(until));
    expect(keysOf(buffer.unread(isSettled, 150, 9))).toEqual(['young', 'moved']);
    const read = buffer.drain().filter((event) => 'readDeadlineMs' in event);
    expect(read).toEqual([{ ...changed('again', 130), readDeadlineMs: 900 }]);
    expect(buffer.isUnread).toBe(false);
  });
});
