/** Reads a Redis server's properties. Refused queries leave their property unknown. */
import type { Redis } from 'ioredis';
import type { Clock } from '../lib/clock.js';
import { RelayError } from '../model/errors.js';
import type { RedisAddress } from '../model/vocabulary.js';
import { redisError } from '../redis/client.js';
import { connect, type RedisConnection } from '../redis/connect.js';
import type { Locator } from '../redis/locator.js';
import type { Locators } from '../redis/locators.js';
import { isReply, unlessRefused } from '../redis/refusal.js';
import { refuseSentinel } from '../redis/sentinels/sentinel-port.js';
import { ServerClock } from '../redis/server-clock.js';
import { PropertyReader, type ServerProperties } from '../server/properties.js';

/** Limit per query: distant servers respond late, and an operator waits at the terminal. */
export const ANSWER_MS_MAX = 5_000;

/** The fastest of these round trips counts: the first may have met a busy process. */
const PINGS = 3;

export interface ServerReading extends ServerProperties {
  readonly roundTripMs: number;
  /** This machine's clock minus the server's; null when the server's is unreadable. */
  readonly clockAheadMs: number | null;
}

/** The context of every query. */
export interface QueryContext {
  readonly clock: Clock;
  readonly locators: Locators;
  /** Aborts when the response is no longer needed. */
  readonly stop: AbortSignal;
}

/**
 * Connects, runs `ask`, and disconnects. The first query without a response within ANSWER_MS_MAX ends the
 * connection. Rejects with a RelayError that explains the problem; `section`: of the configuration.
 */
export async function withServer<Address extends RedisAddress, Result>(
  locator: Locator<Address>,
  section: 'redis' | 'state',
  { stop }: Pick<QueryContext, 'stop'>,
  ask: (connection: RedisConnection, address: Address) => Promise<Result>,
): Promise<Result> {
  const closing = new AbortController();
  const close = () => closing.abort();
  stop.addEventListener('abort', close, { once: true });
  if (stop.aborted) close();
  let connection: RedisConnection | null = null;
  let { address } = locator;
  try {
    address = await locator.locate();
    connection = await connect(
      address,
      'doctor',
      closing.signal,
      section,
      undefined,
      ANSWER_MS_MAX,
    );
    const failed = connection.ended.then((error) => Promise.reject(error));
    // Both are awaited from the start: the connection may fail during the first query.
    return await Promise.race([askServer(connection, address, section, ask), failed]);
  } catch (error) {
    if (error instanceof RelayError) throw error;
    if (connection === null || isReply(error)) throw redisError(error, address, section);
    // On a timeout or disconnect, the connection's state is more informative than the failed command.
    close();
    throw await connection.ended;
  } finally {
    stop.removeEventListener('abort', close);
    close();
  }
}

async function askServer<Address extends RedisAddress, Result>(
  connection: RedisConnection,
  address: Address,
  section: 'redis' | 'state',
  ask: (connection: RedisConnection, address: Address) => Promise<Result>,
): Promise<Result> {
  const { redis } = connection;
  const [role] = (await unlessRefused(redis.role())) ?? [];
  if (role === 'sentinel') await refuseSentinel(redis, address, section);
  return ask(connection, address);
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
