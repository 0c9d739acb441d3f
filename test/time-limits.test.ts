/** Time limits in several files that depend on one another. */
import { expect, it } from 'vitest';
import { LOOKS_MS } from '../src/doctor/state.js';
import { HEARTBEAT_EVERY_MS, OTHERS_BACK_MS } from '../src/outbox/presence.js';
import { CAPTURED_KEPT_MS } from '../src/outbox/scripts/deliveries.js';
import { CONNECT_MS_MAX, PING_EVERY_MS, SILENCE_MS_MAX } from '../src/redis/connect.js';
import { RECONNECT_MS_MAX } from '../src/redis/lasting.js';
import { ADDRESS_MS_MAX } from '../src/redis/socket.js';
import { DEAD_AFTER_MS } from '../src/state/format.js';
import { SUCCESSOR_AFTER_MS } from '../src/state/lease-scripts.js';
import {
  ABSENT_AFTER_MS,
  FORGOTTEN_AFTER_MS,
  LEASE_MS,
  LOOK_EVERY_MS,
  REMEMBERS_ALL_AFTER_MS,
} from '../src/state/redis-lease.js';
import { READ_EVERY_MS } from '../src/watch/feed.js';
import { BUFFERED_MS } from '../src/watch/replay-buffer.js';
import { MARK_EVERY_MS } from '../src/watch/watch.js';

it('lets a holder miss one renewal without losing the lease', () => {
  expect(LEASE_MS).toBeGreaterThan(2 * LOOK_EVERY_MS);
});

it('considers a replica that died with the holder absent when the lease becomes free', () => {
  expect(ABSENT_AFTER_MS).toBeGreaterThan(LOOK_EVERY_MS);
  expect(ABSENT_AFTER_MS).toBeLessThan(LEASE_MS);
});

it('keeps the number of a configuration while the lease changes hands', () => {
  expect(FORGOTTEN_AFTER_MS).toBeGreaterThan(SUCCESSOR_AFTER_MS + LEASE_MS);
});

it('buffers received events until another replica has taken over from a silent one', () => {
  const noticedMs = PING_EVERY_MS + SILENCE_MS_MAX;
  expect(BUFFERED_MS).toBeGreaterThan(noticedMs + LEASE_MS + LOOK_EVERY_MS);
  expect(BUFFERED_MS).toBeGreaterThan(SUCCESSOR_AFTER_MS);
});

it('defers to no other replica once its buffer is complete', () => {
  expect(REMEMBERS_ALL_AFTER_MS).toBe(BUFFERED_MS);
});

it('lets doctor see a running replica renew', () => {
  expect(LOOKS_MS).toBeGreaterThan(2 * LOOK_EVERY_MS);
});

it('considers no replica dead that missed two heartbeats or still reconnects', () => {
  expect(DEAD_AFTER_MS).toBeGreaterThan(3 * HEARTBEAT_EVERY_MS);
  expect(OTHERS_BACK_MS).toBeGreaterThanOrEqual(RECONNECT_MS_MAX + HEARTBEAT_EVERY_MS);
});

it('tries three addresses of a Redis within the limit on connecting', () => {
  expect(3 * ADDRESS_MS_MAX).toBeLessThan(CONNECT_MS_MAX);
});

it('reads the deadline of a key with a TTL of one second before it expires, if it is not settled', () => {
  expect(MARK_EVERY_MS + READ_EVERY_MS).toBeLessThan(1_000);
});

it('records captured expirations for longer than a standby buffers them', () => {
  expect(CAPTURED_KEPT_MS).toBeGreaterThan(BUFFERED_MS + 2 * MARK_EVERY_MS);
});
