/** Asks a Redis what it is. Only reads; whatever a user may not ask stays unknown. */
import type { Redis } from 'ioredis';
import type { Clock } from '../lib/clock.js';
import { RelayError } from '../model/errors.js';
import type { RedisAddress } from '../model/vocabulary.js';
import { redisError } from '../redis/client.js';
import { connect, type RedisConnection } from '../redis/connect.js';
import { isReply, unlessRefused } from '../redis/refusal.js';
import { refuseSentinel } from '../redis/sentinel.js';
import { ServerClock } from '../redis/server-clock.js';
import { PropertyReader, type ServerProperties } from '../server/properties.js';

/** For each question: a server that is far away answers late, and a person waits at the terminal. */
export const ANSWER_MS_MAX = 5_000;

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
 * Connects, lets `ask` ask, and hangs up. The first question that is not answered within ANSWER_MS_MAX
 * ends it. Rejects with a RelayError that says what is wrong; `section` of the file is about this server.
 */
export async function withServer<Result>(
  address: RedisAddress,
  section: 'redis' | 'state',
  { stop }: Asking,
  ask: (connection: RedisConnection) => Promise<Result>,
): Promise<Result> {
  const closing = new AbortController();
  const close = () => closing.abort();
  stop.addEventListener('abort', close, { once: true });
  if (stop.aborted) close();
  let connection: RedisConnection | null = null;
  try {
    connection = await connect(
      address,
      'doctor',
      closing.signal,
      section,
      undefined,
      ANSWER_MS_MAX,
    );
    const failed = connection.ended.then((error) => Promise.reject(error));
    // Both from the beginning: the connection may end while the first question is under way.
    return await Promise.race([askServer(connection, address, section, ask), failed]);
  } catch (error) {
    if (error instanceof RelayError) throw error;
    if (connection === null || isReply(error)) throw redisError(error, address, section);
    // No answer, or the connection has ended: how it was going says more than the command that failed.
    close();
    throw await connection.ended;
  } finally {
    stop.removeEventListener('abort', close);
    close();
  }
}

async function askServer<Result>(
  connection: RedisConnection,
  address: RedisAddress,
  section: 'redis' | 'state',
  ask: (connection: RedisConnection) => Promise<Result>,
): Promise<Result> {
  const { redis } = connection;
  const [role] = (await unlessRefused(redis.role())) ?? [];
  if (role === 'sentinel') await refuseSentinel(redis, address, section);
  return ask(connection);
}

export async function readServer(redis: Redis, clock: Clock): Promise<ServerReading> {
  const roundTripMs = await quickestPing(redis, clock);
  const [clockAheadMs, properties] = await Promise.all([
    new ServerClock(clock).begin(redis),
    new PropertyReader(redis).read(),
  ]);
  return { ...properties, roundTripMs, clockAheadMs };
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
