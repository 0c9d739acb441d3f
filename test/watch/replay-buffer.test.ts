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
  it('holds the events of the last seconds, in their order', () => {
    const buffer = new ReplayBuffer();
    for (const [key, nowMs] of [['a', 0] as const, ['b', 5_000] as const, ['c', 8_000] as const]) {
      buffer.append(expired(key));
      buffer.dropOld(nowMs);
    }
    buffer.dropOld(22_500);
    expect(keysOf(buffer.drain())).toEqual(['b', 'c']);
  });

  it('holds events of any age while no other replica may capture, and drops them as late as others', () => {
    const buffer = new ReplayBuffer();
    buffer.append(expired('a'));
    buffer.append(expired('b'));
    buffer.prepend([expired('earlier')]);
    buffer.dropOld(60_000);
    buffer.append(expired('c'));
    buffer.dropOld(80_000);
    expect(keysOf(buffer.drain())).toEqual(['earlier', 'a', 'b', 'c']);
    for (const key of ['a', 'b']) buffer.append(expired(key));
    buffer.prepend([expired('earlier')]);
    buffer.dropOld(60_000);
    buffer.append(expired('c'));
    buffer.dropOld(80_001);
    expect(keysOf(buffer.drain())).toEqual(['c']);
  });

  it('is drained once', () => {
    const buffer = new ReplayBuffer();
    buffer.append(expired('a'));
    buffer.drain();
    expect(buffer.drain()).toEqual([]);
  });

  it('is cleared at a gap', () => {
    const buffer = new ReplayBuffer();
    buffer.append(expired('a'));
    buffer.clear();
    expect(buffer.drain()).toEqual([]);
  });

  it('is bounded, and keeps the youngest events', () => {
    const buffer = new ReplayBuffer();
    for (let n = 0; n < 100_010; n += 1) buffer.append(expired(String(n)));
    const keys = keysOf(buffer.drain());
    expect(keys).toHaveLength(100_000);
    expect(keys.at(-1)).toBe('100009');
    for (let n = 0; n < 20; n += 1) buffer.append(expired('x'.repeat(1024 * 1024)));
    expect(buffer.drain()).toHaveLength(16);
  });

  it('names the last unread change of each key, and keeps the deadlines that are read', () => {
    const buffer = new ReplayBuffer();
    buffer.append(changed('settled', 100));
    buffer.append(changed('again', 110));
    buffer.append(changed('ended', 120));
    buffer.append(expired('ended'));
    buffer.append(changed('again', 130));
    buffer.append(changed('moved', 140));
    buffer.append(changed('young', 150));
    const isSettled = ({ detectedAtMs }: KeyEvent) => detectedAtMs <= 100;
    const unread = buffer.unread(isSettled, 140, 9);
    expect(keysOf(unread)).toEqual(['again', 'moved']);
    expect(keysOf(buffer.unread(isSettled, 150, 1))).toEqual(['again']);
    buffer.append(changed('moved', 145));
    buffer.read(unread, unread.map(until));
    expect(keysOf(buffer.unread(isSettled, 150, 9))).toEqual(['young', 'moved']);
    const read = buffer.drain().filter((event) => 'readDeadlineMs' in event);
    expect(read).toEqual([{ ...changed('again', 130), readDeadlineMs: 900 }]);
    expect(buffer.isUnread).toBe(false);
  });
});
