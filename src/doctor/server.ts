/** Asks a Redis what it is. Only reads; whatever a user may not ask stays unknown. */
import type { Redis } from 'ioredis';
import type { Clock } from '../clock.js';
import { RelayError } from '../errors.js';
import { connect, type RedisConnection } from '../redis/connect.js';
import { refuseSentinel } from '../redis/sentinel.js';
import { redisError } from '../redis-client.js';
import { ServerClock } from '../source/server-clock.js';
import type { RedisAddress } from '../vocabulary.js';
import { type Info, parseInfo } from './info.js';

/** All questions to one server together; whoever waits sits at a terminal. */
export const REDIS_MS_MAX = 5_000;

/** Of so many round trips the quickest counts: the first ones may have met a busy process. */
const PINGS = 3;

const SETTINGS = ['notify-keyspace-events', 'active-expire-effort', 'save'] as const;

export interface ServerReading {
  /** As the server names itself, such as `redis`. */
  readonly software: string;
  /** Such as `7.0.15`; null when it does not say. */
  readonly version: string | null;
  readonly isCluster: boolean;
  /** Null when it does not say. */
  readonly role: 'primary' | 'replica' | null;
  /** host:port of a replica's primary; null when there is none, or it is not shown. */
  readonly primary: string | null;
  readonly roundTripMs: number;
  /** This machine's clock minus the server's; null when the server does not tell its own. */
  readonly clockAheadMs: number | null;
  /** Null when INFO is forbidden. */
  readonly info: Info | null;
  /** What CONFIG GET shows of the settings that matter. */
  readonly settings: ReadonlyMap<string, string>;
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
    const role = (await toldBy(redis.role())) ?? [];
    await refuseSentinel(redis, role, address, section);
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

/** Null when the server refuses; rejects when the connection ends. */
export async function toldBy<Reply>(reply: Promise<Reply>): Promise<Reply | null> {
  try {
    return await reply;
  } catch (error) {
    if (error instanceof Error && error.name === 'ReplyError') return null;
    throw error;
  }
}

export async function readServer(redis: Redis, clock: Clock): Promise<ServerReading> {
  const roundTripMs = await quickestPing(redis, clock);
  const text = await toldBy(redis.info());
  const info = text === null ? null : parseInfo(text);
  const hello = await readHello(redis);
  const [kind, host, port] = ((await toldBy(redis.role())) ?? []) as unknown[];
  const role = String(kind ?? hello.get('role') ?? info?.get('role') ?? '');
  const settings = new Map<string, string>();
  for (const name of SETTINGS) {
    const reply = (await toldBy(redis.config('GET', name))) as string[] | null;
    if (reply?.[1] !== undefined) settings.set(name, reply[1]);
  }
  return {
    software: hello.get('server') ?? 'redis',
    version: hello.get('version') ?? info?.get('redis_version') ?? null,
    isCluster: (hello.get('mode') ?? info?.get('redis_mode')) === 'cluster',
    role: /^(slave|replica)$/.test(role) ? 'replica' : role === 'master' ? 'primary' : null,
    primary: host === undefined || kind === 'master' ? null : `${host}:${port}`,
    roundTripMs,
    clockAheadMs: await clockAhead(redis, clock),
    info,
    settings,
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

/** Without arguments it changes nothing, and no ACL forbids it; some proxies do not know it. */
async function readHello(redis: Redis): Promise<ReadonlyMap<string, string>> {
  const reply = (await toldBy(redis.call('HELLO'))) as unknown[] | null;
  const words = (reply ?? []).map(String);
  return new Map(words.flatMap((word, at) => (at % 2 === 0 ? [[word, words[at + 1] ?? '']] : [])));
}

async function clockAhead(redis: Redis, clock: Clock): Promise<number | null> {
  const server = new ServerClock(clock);
  const told = await toldBy(server.ask(redis).then(() => true));
  return told === null ? null : clock.nowMs() - server.nowMs();
}
