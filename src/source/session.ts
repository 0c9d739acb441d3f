/**
 * One unbroken stretch of listening to one primary: connect → check its role → make sure that it
 * notifies → subscribe → prove it → listen. Whatever breaks it ends the whole stretch; the next
 * one begins from the start, so that coming back runs the same code as coming up.
 */
import type { Chance, Clock } from '../clock.js';
import { RedisIsReplicaError, RedisPermissionError, type RelayError } from '../errors.js';
import type { SourceEvents } from '../events/source-events.js';
import { redisCli, redisUser } from '../redis-cli.js';
import {
  addressOf,
  connect,
  PING_EVERY_MS,
  type RedisConnection,
  redisError,
} from '../redis-client.js';
import { isRefusal, unlessRefused } from '../refusal.js';
import { judgeServer, replicaText } from '../server/judge.js';
import { PropertyReader, type ServerProperties } from '../server/properties.js';
import type { KeyInDatabase, Notice, RedisSettings } from '../vocabulary.js';
import { Canary } from './canary.js';
import { channelsOf, type HeardKind } from './channels.js';
import { Keyspace } from './keyspace.js';
import { Marker } from './marker.js';
import { ensureNotifications, notificationsLost } from './notifications.js';
import { type Proof, Prover } from './prover.js';
import { ASK_EVERY_MS, type ServerClock } from './server-clock.js';
import { ServerIdentity } from './server-identity.js';

export interface SessionParts {
  readonly settings: RedisSettings;
  /** What every key of the relay's own begins with; none of them is an expiration. */
  readonly ownPrefix: string;
  /** The key that lies in every watched database as long as nobody empties it. */
  readonly markerKey: string;
  /** The key that says which server this is. */
  readonly serverKey: string;
  /** Set by each session to the clock of the server that it found. */
  readonly serverClock: ServerClock;
  readonly events: SourceEvents;
  readonly clock: Clock;
  readonly chance: Chance;
  /** Called for each key that expired, none of them the relay's own; must not throw or wait. */
  readonly onExpired: (expired: HeardExpiration) => void;
  /** Called for whatever else became of a key, in the same order; must not throw or wait. */
  readonly onNotice: (notice: Notice) => void;
}

export interface HeardExpiration extends KeyInDatabase {
  /** By the clock of the Redis that holds the keys. */
  readonly detectedAtMs: number;
}

export interface Session {
  /** Resolves, once, with why the stretch ended. Never rejects. */
  readonly ended: Promise<RelayError>;
  /** What the last canaries showed. */
  proof(): Proof;
  /** When notifications were last known to flow, by the monotonic clock. */
  provedAtMs(): number;
  /** Resolves once all that Redis has said by now has been handed on; rejects with the connection. */
  heardAll(): Promise<void>;
  readonly keyspace: Keyspace;
  /** The same on a connection of its own, for what nobody waits for. */
  readonly sweeping: Keyspace;
  readonly marker: Marker;
  readonly identity: ServerIdentity;
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
  const { settings, events, clock, chance, serverClock } = parts;
  const commands = await connect(settings, 'commands', closing);
  const properties = new PropertyReader(commands.redis);
  const found = await properties.read();
  refuseReplica(found, settings);
  const setting = await ensureNotifications(commands.redis, settings, events);
  const clockAheadMs = await askTime(commands, parts);
  const report = (read: ServerProperties) =>
    events.server(addressOf(settings), judgeServer(read, settings, clockAheadMs));
  report(found);
  const recheck = async () => report(await properties.read());
  const reading = await connectUntouching(settings, 'deadlines', closing);
  const sweeping = await connectUntouching(settings, 'sweep', closing);
  const subscriber = await connect(settings, 'subscriber', closing);
  const canary = new Canary(commands.redis, clock, parts.ownPrefix, chance.token());
  const mayHearChanges = await subscribe(subscriber, canary, parts);
  const prover = new Prover(canary, { setting, mayHearChanges }, parts);
  await Promise.race([prover.proveAll(closing), failure(commands), failure(subscriber)]);
  const ended = Promise.race([
    commands.ended,
    subscriber.ended,
    prover.goOn(recheck, closing).catch((error: unknown) => redisErrorOf(error, settings)),
    reading.ended,
    sweeping.ended,
    notificationsLost(commands.redis, setting, settings, clock, closing),
    keepAlive(subscriber, clock, closing),
    keepTime(serverClock, commands, clock, closing),
  ]).finally(close);
  return {
    ended,
    proof: () => prover.proof,
    provedAtMs: () => prover.provedAtMs,
    // Answered behind every notification that was published before.
    heardAll: async () => void (await subscriber.redis.ping()),
    keyspace: new Keyspace(reading.redis, serverClock),
    marker: new Marker(commands.redis, parts.markerKey),
    identity: new ServerIdentity(commands.redis, parts.serverKey),
    sweeping: new Keyspace(sweeping.redis, serverClock),
    close,
  };
}

/** Reading a key to learn its deadline must not make it look as if somebody used it. */
async function connectUntouching(
  settings: RedisSettings,
  role: string,
  closing: AbortSignal,
): Promise<RedisConnection> {
  const connection = await connect(settings, role, closing);
  // Redis has it from 7.2 on, and not everybody may.
  await connection.redis.client('NO-TOUCH', 'ON').catch(() => undefined);
  return connection;
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

/** Where the server does not say what it is, the canary finds out: a replica refuses to be written. */
function refuseReplica({ role, primary }: ServerProperties, settings: RedisSettings): void {
  if (role === 'replica') throw new RedisIsReplicaError(replicaText(primary, settings));
}

/**
 * Resolves with how far this machine's clock is ahead of the server's; with null where that does not
 * tell its time: it is taken to have ours.
 */
async function askTime(
  { redis }: RedisConnection,
  { serverClock, clock }: SessionParts,
): Promise<number | null> {
  const answered = await unlessRefused(serverClock.askAnew(redis).then(() => true));
  if (answered === null) serverClock.forget();
  return answered === null ? null : clock.nowMs() - serverClock.nowMs();
}

/**
 * Exact channels, never a pattern: under an ACL they need the smaller permission. Resolves with whether
 * more may be heard than what expires.
 */
async function subscribe(
  subscriber: RedisConnection,
  canary: Canary,
  parts: SessionParts,
): Promise<boolean> {
  const { settings, events, serverClock, onExpired, onNotice } = parts;
  const ownPrefix = Buffer.from(parts.ownPrefix);
  const channels = channelsOf(settings.databases);
  subscriber.redis.on('messageBuffer', (channel: Buffer, key: Buffer) => {
    const heard = channels.get(channel.toString());
    if (heard === undefined) return;
    const { database, kind } = heard;
    canary.notified(database, key, kind);
    if (key.subarray(0, ownPrefix.length).equals(ownPrefix)) return;
    if (kind !== 'expired') return onNotice({ kind, database, key });
    onExpired({ database, key, detectedAtMs: Math.round(serverClock.nowMs()) });
  });
  const named = (wanted: (kind: HeardKind) => boolean) =>
    [...channels].filter(([, { kind }]) => wanted(kind)).map(([name]) => name);
  const expired = named((kind) => kind === 'expired');
  try {
    await subscriber.redis.subscribe(...expired);
  } catch (error) {
    const denied = redisErrorOf(error, settings);
    if (!isRefusal(error)) throw denied;
    throw new RedisPermissionError(
      `${denied.message}. Run: ${redisCli(settings)} ACL SETUSER ${redisUser(settings)} ` +
        `+subscribe ${expired.map((channel) => `'&${channel}'`).join(' ')}`,
    );
  }
  try {
    await subscriber.redis.subscribe(...named((kind) => kind !== 'expired'));
    return true;
  } catch (error) {
    if (!isRefusal(error)) throw redisErrorOf(error, settings);
    events.noticesForbidden(addressOf(settings), redisErrorOf(error, settings));
    return false;
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

/** Clocks drift, and may be set: the server's is asked again and again. */
async function keepTime(
  serverClock: ServerClock,
  { redis, ended }: RedisConnection,
  clock: Clock,
  closing: AbortSignal,
): Promise<RelayError> {
  while (!closing.aborted) {
    await clock.sleep(ASK_EVERY_MS, closing);
    // A connection that failed says why by itself.
    if (!closing.aborted) await serverClock.ask(redis).catch(() => undefined);
  }
  return ended;
}
