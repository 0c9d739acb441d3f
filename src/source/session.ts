/**
 * One unbroken stretch of listening to one primary: connect → check its role → make sure that it
 * notifies → subscribe → prove it → listen. Whatever breaks it ends the whole stretch; the next
 * one begins from the start, so that coming back runs the same code as coming up.
 */
import type { Chance, Clock } from '../clock.js';
import {
  CanaryLostError,
  NoDatabaseError,
  NotificationsOffError,
  RedisIsReplicaError,
  RedisPermissionError,
  type RelayError,
} from '../errors.js';
import type { SourceEvents } from '../events/source-events.js';
import type { RedisSettings } from '../vocabulary.js';
import { Canary, OWN_KEY_PREFIX } from './canary.js';
import { ensureNotifications, NEEDED_FLAGS, type NotificationState } from './notifications.js';
import {
  addressOf,
  connect,
  PING_EVERY_MS,
  type RedisConnection,
  redisError,
  replicaAdvice,
} from './redis-client.js';

/** From one proof of a database to the next. */
const CANARY_EVERY_MS = 5_000;

const OWN_PREFIX_BYTES = Buffer.from(OWN_KEY_PREFIX);

export interface SessionParts {
  readonly settings: RedisSettings;
  readonly events: SourceEvents;
  readonly clock: Clock;
  readonly chance: Chance;
  /** Called for each key that expired, none of them the relay's own; must not throw or wait. */
  readonly onExpired: (database: number, key: Buffer) => void;
}

/** What proves that notifications flow. */
export type Proof =
  | { readonly kind: 'heard' }
  /** The canary may not be written, by the operator's own choice. */
  | { readonly kind: 'forbidden'; readonly reason: string }
  /** It cannot be written now. */
  | { readonly kind: 'failing'; readonly reason: string };

export interface Session {
  /** Resolves, once, with why the stretch ended. Never rejects. */
  readonly ended: Promise<RelayError>;
  /** What the last canary showed. */
  proof(): Proof;
  /** When notifications were last known to flow, by the monotonic clock. */
  provedAtMs(): number;
  close(): void;
}

/** Resolves once the canary was heard in every database; rejects with what stands in the way. */
export async function openSession(parts: SessionParts, signal: AbortSignal): Promise<Session> {
  const connections: RedisConnection[] = [];
  const closing = new AbortController();
  const close = () => {
    signal.removeEventListener('abort', close);
    closing.abort();
    for (const connection of connections) connection.close();
  };
  signal.addEventListener('abort', close, { once: true });
  try {
    return await open(parts, connections, closing.signal, close);
  } catch (error) {
    close();
    throw redisErrorOf(error, parts.settings);
  }
}

async function open(
  parts: SessionParts,
  connections: RedisConnection[],
  closing: AbortSignal,
  close: () => void,
): Promise<Session> {
  const { settings, events, clock, chance } = parts;
  const commands = await connect(settings, 'commands');
  connections.push(commands);
  await refuseReplica(commands, settings);
  const notifications = await ensureNotifications(commands.redis, settings, events);
  const subscriber = await connect(settings, 'subscriber');
  connections.push(subscriber);
  closing.throwIfAborted();
  const canary = new Canary(commands.redis, clock, chance.token());
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
  const databases = new Map(settings.databases.map((n) => [`__keyevent@${n}__:expired`, n]));
  subscriber.redis.on('messageBuffer', (channel: Buffer, key: Buffer) => {
    const database = databases.get(channel.toString());
    canary.notified(key);
    if (database === undefined || isOwn(key)) return;
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

function isOwn(key: Buffer): boolean {
  return key.subarray(0, OWN_PREFIX_BYTES.length).equals(OWN_PREFIX_BYTES);
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

/** Runs the canary through the databases, again and again. */
class Prover {
  readonly #canary: Canary;
  readonly #notifications: NotificationState;
  readonly #parts: SessionParts;
  proof: Proof = { kind: 'failing', reason: 'not tried yet' };
  provedAtMs: number;

  constructor(canary: Canary, notifications: NotificationState, parts: SessionParts) {
    this.#canary = canary;
    this.#notifications = notifications;
    this.#parts = parts;
    this.provedAtMs = parts.clock.monotonicMs();
  }

  /** One proof of every database; rejects when a canary is lost. */
  async proveAll(closing: AbortSignal): Promise<void> {
    for (const database of this.#parts.settings.databases) {
      if (!closing.aborted) await this.#proveOne(database, closing);
    }
  }

  /** Until the session closes; rejects when a canary is lost. */
  async goOn(closing: AbortSignal): Promise<never> {
    while (!closing.aborted) {
      await this.#parts.clock.sleep(CANARY_EVERY_MS, closing);
      await this.proveAll(closing);
    }
    throw new CanaryLostError('the session was closed');
  }

  async #proveOne(database: number, closing: AbortSignal): Promise<void> {
    const { events, settings } = this.#parts;
    const address = addressOf(settings);
    const result = await this.#canary.prove(database, closing);
    if (closing.aborted) return;
    switch (result.kind) {
      case 'heard':
        this.proof = { kind: 'heard' };
        this.provedAtMs = this.#parts.clock.monotonicMs();
        return events.canaryHeard(result.lagMs);
      case 'unwritable': {
        const { reason } = result;
        const kind = reason.startsWith('NOPERM') ? 'forbidden' : 'failing';
        if (this.proof.kind !== 'forbidden') events.canaryUnwritable(address, reason);
        this.proof = { kind, reason };
        return;
      }
      case 'no_database':
        throw new NoDatabaseError(
          `Redis at ${address} has no database ${database}: correct redis.databases, or raise ` +
            '`databases` in redis.conf',
        );
      case 'lost':
        throw this.#lost(database, address);
    }
  }

  #lost(database: number, address: string): RelayError {
    if (this.#notifications === 'unknown' && this.proof.kind !== 'heard') {
      return new NotificationsOffError(
        `Redis at ${address} does not publish expirations (a test key in database ${database} ` +
          'expired unheard) and does not show its setting: set notify-keyspace-events to ' +
          `"${NEEDED_FLAGS}" where the server is configured (a managed service: its parameter ` +
          'group)',
      );
    }
    return new CanaryLostError(
      `a test key in database ${database} of Redis at ${address} expired unheard`,
    );
  }
}
