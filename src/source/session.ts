/**
 * One unbroken stretch of listening to one primary: connect → check its role → make sure that it
 * notifies → subscribe → prove it → listen. Whatever breaks it ends the whole stretch; the next
 * one begins from the start, so that coming back runs the same code as coming up.
 */
import type { Chance, Clock } from '../clock.js';
import { RedisIsReplicaError, RedisPermissionError, type RelayError } from '../errors.js';
import type { SourceEvents } from '../events/source-events.js';
import {
  addressOf,
  connect,
  PING_EVERY_MS,
  type RedisConnection,
  redisError,
  replicaAdvice,
} from '../redis-client.js';
import type { RedisSettings } from '../vocabulary.js';
import { Canary } from './canary.js';
import { ensureNotifications } from './notifications.js';
import { type Proof, Prover } from './prover.js';

export interface SessionParts {
  readonly settings: RedisSettings;
  /** What every key of the relay's own begins with; none of them is an expiration. */
  readonly ownPrefix: string;
  readonly events: SourceEvents;
  readonly clock: Clock;
  readonly chance: Chance;
  /** Called for each key that expired, none of them the relay's own; must not throw or wait. */
  readonly onExpired: (database: number, key: Buffer) => void;
}

export interface Session {
  /** Resolves, once, with why the stretch ended. Never rejects. */
  readonly ended: Promise<RelayError>;
  /** What the last canaries showed. */
  proof(): Proof;
  /** When notifications were last known to flow, by the monotonic clock. */
  provedAtMs(): number;
  close(): void;
}

/**
 * Resolves once the canary was tried in every database; rejects with what stands in the way, and
 * when the signal aborts. An abort ends the session, too.
 */
export async function openSession(parts: SessionParts, signal: AbortSignal): Promise<Session> {
  const closing = new AbortController();
  const close = () => {
    signal.removeEventListener('abort', close);
    closing.abort();
  };
  signal.addEventListener('abort', close, { once: true });
  try {
    signal.throwIfAborted();
    return await open(parts, closing.signal, close);
  } catch (error) {
    close();
    throw redisErrorOf(error, parts.settings);
  }
}

async function open(
  parts: SessionParts,
  closing: AbortSignal,
  close: () => void,
): Promise<Session> {
  const { settings, events, clock, chance } = parts;
  const commands = await connect(settings, 'commands', closing);
  await refuseReplica(commands, settings);
  const notifications = await ensureNotifications(commands.redis, settings, events);
  const subscriber = await connect(settings, 'subscriber', closing);
  const canary = new Canary(commands.redis, clock, parts.ownPrefix, chance.token());
  await subscribe(subscriber, canary, parts);
  const prover = new Prover(canary, notifications, parts);
  await Promise.race([prover.proveAll(closing), failure(commands), failure(subscriber)]);
  const ended = Promise.race([
    commands.ended,
    subscriber.ended,
    prover.goOn(closing).catch((error: unknown) => redisErrorOf(error, settings)),
    keepAlive(subscriber, clock, closing),
  ]).finally(close);
  return { ended, proof: () => prover.proof, provedAtMs: () => prover.provedAtMs, close };
}

function redisErrorOf(error: unknown, settings: RedisSettings): RelayError {
  return error instanceof Error && 'retryable' in error
    ? (error as RelayError)
    : redisError(error, settings);
}

/** Rejects when the connection ends. */
async function failure(connection: RedisConnection): Promise<never> {
  throw await connection.ended;
}

async function refuseReplica(commands: RedisConnection, settings: RedisSettings): Promise<void> {
  let role: unknown[];
  try {
    role = await commands.redis.role();
  } catch (error) {
    const denied = redisErrorOf(error, settings);
    // Not allowed to ask: the canary finds out, since a replica refuses to be written.
    if (denied instanceof RedisPermissionError) return;
    throw denied;
  }
  if (role[0] === 'slave') {
    throw new RedisIsReplicaError(replicaAdvice(addressOf(settings), `${role[1]}:${role[2]}`));
  }
}

/** Exact channels, never a pattern: under an ACL they need the smaller permission. */
async function subscribe(
  subscriber: RedisConnection,
  canary: Canary,
  parts: SessionParts,
): Promise<void> {
  const { settings } = parts;
  const ownPrefix = Buffer.from(parts.ownPrefix);
  const databases = new Map(settings.databases.map((n) => [`__keyevent@${n}__:expired`, n]));
  subscriber.redis.on('messageBuffer', (channel: Buffer, key: Buffer) => {
    const database = databases.get(channel.toString());
    if (database === undefined) return;
    canary.notified(database, key);
    if (key.subarray(0, ownPrefix.length).equals(ownPrefix)) return;
    parts.onExpired(database, key);
  });
  try {
    await subscriber.redis.subscribe(...databases.keys());
  } catch (error) {
    const denied = redisErrorOf(error, settings);
    if (!(denied instanceof RedisPermissionError)) throw denied;
    throw new RedisPermissionError(
      `${denied.message}. Run: redis-cli ACL SETUSER ${settings.username ?? 'default'} ` +
        `+subscribe ${[...databases.keys()].map((channel) => `'&${channel}'`).join(' ')}`,
    );
  }
}

/** Asks for a sign of life on a connection that otherwise only listens. */
async function keepAlive(
  { redis, ended }: RedisConnection,
  clock: Clock,
  closing: AbortSignal,
): Promise<RelayError> {
  while (!closing.aborted) {
    await clock.sleep(PING_EVERY_MS, closing);
    // A failed ping ends the connection, which says why.
    if (!closing.aborted) await redis.ping().catch(() => undefined);
  }
  return ended;
}
