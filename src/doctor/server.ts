/** Asks a Redis what it is. Only reads; whatever a user may not ask stays unknown. */
import type { Redis } from 'ioredis';
import type { Clock } from '../clock.js';
import { RelayError } from '../errors.js';
import { connect, type RedisConnection } from '../redis/connect.js';
import { refuseSentinel } from '../redis/sentinel.js';
import { redisError } from '../redis-client.js';
import { unlessRefused } from '../refusal.js';
import { PropertyReader, type ServerProperties } from '../server/properties.js';
import { ServerClock } from '../source/server-clock.js';
import type { RedisAddress } from '../vocabulary.js';

/** For all questions to one server together: a person waits at the terminal. */
export const REDIS_MS_MAX = 5_000;

/** Of so many round trips the quickest counts: the first ones may have met a busy process. */
const PINGS = 3;

export interface ServerReading extends ServerProperties {
  readonly roundTripMs: number;
  /** This machine's clock minus the server's; null when the server does not tell its own. */
  readonly clockAheadMs: number | null;
}

/** What the doctor needs of the world to ask anything. */
export interface Asking {
  readonly clock: Clock;
  /** Aborts when nobody waits for the answer any more. */
  readonly stop: AbortSignal;
}

/**
 * Connects, lets `ask` ask, and hangs up, all within REDIS_MS_MAX. Rejects with a RelayError that
 * says what is wrong; `section` of the file is about this server.
 */
export async function withServer<Result>(
  address: RedisAddress,
  section: 'redis' | 'state',
  { clock, stop }: Asking,
  ask: (redis: Redis) => Promise<Result>,
): Promise<Result> {
  const closing = new AbortController();
  const close = () => closing.abort();
  const cancel = clock.after(REDIS_MS_MAX, close);
  stop.addEventListener('abort', close, { once: true });
  if (stop.aborted) close();
  let connection: RedisConnection | null = null;
  try {
    connection = await connect(address, 'doctor', closing.signal, section);
    const { redis, ended } = connection;
    const failed = ended.then((error) => Promise.reject(error));
    const [role] = (await unlessRefused(redis.role())) ?? [];
    if (role === 'sentinel') await refuseSentinel(redis, address, section);
    return await Promise.race([ask(redis), failed]);
  } catch (error) {
    if (error instanceof RelayError) throw error;
    // A connection that has ended says more than the command that failed with it.
    const hasEnded = connection !== null && connection.redis.status !== 'ready';
    throw hasEnded ? await connection?.ended : redisError(error, address, section);
  } finally {
    cancel();
    stop.removeEventListener('abort', close);
    close();
  }
}

export async function readServer(redis: Redis, clock: Clock): Promise<ServerReading> {
  const roundTripMs = await quickestPing(redis, clock);
  const properties = await new PropertyReader(redis).read();
  return {
    ...properties,
    roundTripMs,
    clockAheadMs: await new ServerClock(clock).askAheadMs(redis),
  };
}

async function quickestPing(redis: Redis, clock: Clock): Promise<number> {
  let quickestMs = Number.POSITIVE_INFINITY;
  for (let count = 0; count < PINGS; count += 1) {
    const sentAtMs = clock.monotonicMs();
    await redis.ping();
    quickestMs = Math.min(quickestMs, clock.monotonicMs() - sentAtMs);
  }
  return quickestMs;
}
