/** Stores dead letters in a state Redis like the relay. */
import type { Redis } from 'ioredis';
import type { DeadLetter } from '../../src/model/vocabulary.js';
import { endpointKeys, endpointsKey } from '../../src/state/format.js';
import { aDelivery } from './domain.js';
import { packDelivery } from './packed-delivery.js';

export const PREFIX = 'expiry-relay';

/** Newer than any other heartbeat. */
const SOON_MS = 60_000;

/** One that died `agoMs` before `nowMs`. */
export function aDeadLetter(
  given: Partial<Omit<DeadLetter, 'delivery' | 'diedAtMs'>> & {
    delivery?: Parameters<typeof aDelivery>[0];
    agoMs?: number;
  } = {},
  nowMs = Date.now(),
): DeadLetter {
  const { delivery, agoMs = 0, ...rest } = given;
  return {
    reason: 'exhausted',
    attempts: 3,
    lastOutcome: 'HTTP 500: oops',
    history: [],
    ...rest,
    delivery: aDelivery(delivery),
    diedAtMs: nowMs - agoMs,
  };
}

export async function storeDeadLetters(redis: Redis, letters: readonly DeadLetter[]) {
  const pipeline = redis.pipeline();
  for (const { delivery, reason, attempts, lastOutcome, diedAtMs, history } of letters) {
    const { dead, deadOrder } = endpointKeys(PREFIX, delivery.endpoint);
    const death = JSON.stringify({
      reason,
      attempts,
      last_outcome: lastOutcome,
      died_at_ms: diedAtMs,
      history: history.map(({ startedAtMs, durationMs, outcome }) => [
        startedAtMs,
        durationMs,
        outcome,
      ]),
    });
    const packed = Buffer.concat([Buffer.from(`${death}\n`), packDelivery(delivery)]);
    pipeline.hset(dead, delivery.id, packed);
    pipeline.zadd(deadOrder, diedAtMs, delivery.id);
    // As when a replica had it once.
    pipeline.zadd(endpointsKey(PREFIX), 'NX', 1, delivery.endpoint);
  }
  await pipeline.exec();
}

/** As if a running replica had these endpoints. */
export async function keepRunning(redis: Redis, ...endpoints: readonly string[]): Promise<void> {
  for (const endpoint of endpoints) {
    await redis.zadd(endpointsKey(PREFIX), Date.now() + SOON_MS, endpoint);
  }
}
