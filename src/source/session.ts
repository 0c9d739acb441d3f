/**
 * One unbroken stretch of listening to one primary: connect → check its role → make sure that it
 * notifies → subscribe → prove it → listen. Whatever breaks it ends the whole stretch; the next
 * one begins from the start, so that coming back runs the same code as coming up.
 */
import type { Chance, Clock } from '../clock.js';
import { RedisIsReplicaError, RedisPermissionError, type RelayError } from '../errors.js';
import type { SourceEvents } from '../events/source-events.js';
import { connect, type RedisConnection } from '../redis/connect.js';
import { refuseSentinel } from '../redis/sentinel.js';
import { redisCli, redisUser } from '../redis-cli.js';
import { addressOf, redisError, replicaAdvice } from '../redis-client.js';
import type { KeyInDatabase, Notice, RedisSettings } from '../vocabulary.js';
import { Canary } from './canary.js';
import { channelsOf, type HeardKind } from './channels.js';
import { ClusterPart } from './cluster.js';
import { keepAlive, ReconnectingConnection } from './connection.js';
import { differentServers, runIdOf } from './identity.js';
import { Keyspace } from './keyspace.js';
import { Marker } from './marker.js';
import {
  ensureNotifications,
  GENERIC,
  missingFlags,
  NEW_KEYS,
  notificationsLost,
} from './notifications.js';
import { Primary } from './primary.js';
import { ServerProperties } from './properties.js';
import { type Proof, Prover } from './prover.js';
import { publishesRemovals } from './removals.js';
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
  /**
   * Whether an `expired` long before the deadline can only be of a key that a command removed: the
   * server publishes that, and every change of a deadline is heard.
   */
  tellsRemovals(): boolean;
  /** Asks for the server's time at once, before its turn; rejects with the connection. */
  askTime(): Promise<void>;
  /** Resolves once all that Redis has said by now has been handed on; rejects with the connection. */
  heardAll(): Promise<void>;
  /** The server's, another one for each process; null when it does not show it. */
  readonly runId: string | null;
  /** Resolves when the server still is the primary that the session began with; rejects otherwise. */
  isPrimary(): Promise<void>;
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
  const opened: RedisConnection[] = [];
  let isOpening = true;
  const onOpened = (connection: RedisConnection) => void (isOpening && opened.push(connection));
  try {
    signal.throwIfAborted();
    return await open(parts, onOpened, closing.signal, close);
  } catch (error) {
    // A connection that has ended says more than the command that failed with it.
    const broken = opened.find(({ redis }) => redis.status !== 'ready');
    const failure = broken === undefined ? redisErrorOf(error, parts.settings) : await broken.ended;
    close();
    throw failure;
  } finally {
    isOpening = false;
  }
}

async function open(
  parts: SessionParts,
  onOpened: (connection: RedisConnection) => void,
  closing: AbortSignal,
  close: () => void,
): Promise<Session> {
  const { settings, events, clock, chance, serverClock } = parts;
  const onStale = (problem: string) => events.credentialsUnusable(problem);
  let runId: string | null = null;
  const connectTo = async (role: string): Promise<RedisConnection> => {
    const connection = await connect(settings, role, closing, 'redis', onStale);
    onOpened(connection);
    const found = await runIdOf(connection.redis);
    const error = differentServers(runId, found, settings);
    if (error !== null) throw error;
    runId ??= found;
    return connection;
  };
  const commands = await connectTo('commands');
  void keepAlive(commands, clock);
  await refuseReplica(commands, settings);
  const { redis } = commands;
  const cluster = new ClusterPart(settings, events);
  await cluster.look(redis);
  const setting = await ensureNotifications(redis, settings, events);
  await askTime(commands, parts);
  const primary = await Primary.of({ redis, settings, ownKey: parts.markerKey });
  const isPrimary = () => primary.check();
  const properties = new ServerProperties(settings, events);
  await properties.look(redis);
  const readOn = async (role: string) => {
    const open = () => connectUntouching(() => connectTo(role), settings);
    const onReopened = (error: RelayError) => events.reopened(addressOf(settings), role, error);
    return ReconnectingConnection.open({ open, onReopened, clock, closing });
  };
  const reading = await readOn('deadlines');
  const sweeping = await readOn('sweep');
  const subscriber = await connectTo('subscriber');
  void keepAlive(subscriber, clock);
  const canary = new Canary(redis, clock, parts.ownPrefix, chance.token());
  const removals = await publishesRemovals(redis);
  const changes = await subscribe(subscriber, canary, setting, parts, closing);
  const prover = new Prover(canary, setting, parts);
  await Promise.race([prover.proveAll(closing), failure(commands), failure(subscriber)]);
  const recheck = async () => {
    await isPrimary();
    for (const one of [reading, sweeping]) {
      const error = differentServers(runId, await one.run(runIdOf), settings);
      if (error !== null) throw error;
    }
    await cluster.look(redis);
    await properties.look(redis);
  };
  const ended = Promise.race([
    commands.ended,
    subscriber.ended,
    primary.lost,
    prover.goOn(recheck, closing).catch((error: unknown) => redisErrorOf(error, settings)),
    reading.ended,
    sweeping.ended,
    notificationsLost(redis, setting, settings, clock, closing),
    keepTime(serverClock, commands, clock, closing),
  ]).finally(close);
  return {
    ended,
    proof: () => prover.proof,
    provedAtMs: () => prover.provedAtMs,
    tellsRemovals: () => removals && changes.areHeard(),
    askTime: () => serverClock.ask(redis),
    // Answered behind every notification that was published before.
    heardAll: async () => void (await subscriber.redis.ping()),
    runId,
    isPrimary,
    keyspace: new Keyspace(reading, serverClock, isPrimary),
    marker: new Marker(redis, parts.markerKey),
    identity: new ServerIdentity(redis, parts.serverKey, runId),
    sweeping: new Keyspace(sweeping, serverClock, isPrimary),
    close,
  };
}

/** Reading a key to learn its deadline must not make it look as if somebody used it. */
async function connectUntouching(
  open: () => Promise<RedisConnection>,
  settings: RedisSettings,
): Promise<RedisConnection> {
  try {
    const connection = await open();
    // Redis has it from 7.2 on, and not everybody may.
    await connection.redis.client('NO-TOUCH', 'ON').catch(() => undefined);
    return connection;
  } catch (error) {
    throw redisErrorOf(error, settings);
  }
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
  await refuseSentinel(commands.redis, role, settings, 'redis');
  if (role[0] === 'slave') {
    throw new RedisIsReplicaError(replicaAdvice(addressOf(settings), `${role[1]}:${role[2]}`));
  }
}

/** A server that does not tell its time is taken to have ours. */
async function askTime(
  commands: RedisConnection,
  { settings, serverClock, events }: SessionParts,
): Promise<void> {
  try {
    await serverClock.askAnew(commands.redis);
  } catch (error) {
    const denied = redisErrorOf(error, settings);
    if (!(denied instanceof RedisPermissionError)) throw denied;
    serverClock.forget();
    events.timeForbidden(addressOf(settings), denied);
  }
}

/**
 * Exact channels, never a pattern: under an ACL they need the smaller permission. `setting` is that of
 * the notifications; null where the server does not show it.
 */
async function subscribe(
  subscriber: RedisConnection,
  canary: Canary,
  setting: string | null,
  parts: SessionParts,
  closing: AbortSignal,
): Promise<{ readonly areHeard: () => boolean }> {
  const { settings, events, serverClock, onExpired, onNotice } = parts;
  const ownPrefix = Buffer.from(parts.ownPrefix);
  const channels = channelsOf(settings.databases);
  let areChangesHeard = false;
  subscriber.redis.on('messageBuffer', (channel: Buffer, key: Buffer) => {
    const heard = channels.get(channel.toString());
    // What arrives while the session ends is part of the gap: nobody can make sure of it any more.
    if (heard === undefined || closing.aborted) return;
    const { database, kind } = heard;
    canary.notified(database, key, kind);
    if (kind === 'changed') areChangesHeard = true;
    if (key.subarray(0, ownPrefix.length).equals(ownPrefix)) return;
    const heardAtMs = Math.round(serverClock.nowMs());
    if (kind === 'expired') onExpired({ database, key, detectedAtMs: heardAtMs });
    else if (kind === 'created') onNotice({ kind, database, key, heardAtMs });
    else onNotice({ kind, database, key });
  });
  const named = (wanted: (kind: HeardKind) => boolean) =>
    [...channels].filter(([, { kind }]) => wanted(kind)).map(([name]) => name);
  // First: who hears of a new deadline has heard that its key was created.
  if (setting === null || missingFlags(setting, NEW_KEYS) === '') {
    await subscriber.redis.subscribe(...named((kind) => kind === 'created')).catch((error) => {
      if (!(redisErrorOf(error, settings) instanceof RedisPermissionError)) throw error;
    });
  }
  const expired = named((kind) => kind === 'expired');
  try {
    await subscriber.redis.subscribe(...expired);
  } catch (error) {
    const denied = redisErrorOf(error, settings);
    if (!(denied instanceof RedisPermissionError)) throw denied;
    throw new RedisPermissionError(
      `${denied.message}. Run: ${redisCli(settings)} ACL SETUSER ${redisUser(settings)} ` +
        `+subscribe ${expired.map((channel) => `'&${channel}'`).join(' ')}`,
    );
  }
  try {
    await subscriber.redis.subscribe(...named((kind) => kind === 'changed' || kind === 'removed'));
    if (setting !== null) areChangesHeard = missingFlags(setting, GENERIC) === '';
  } catch (error) {
    const denied = redisErrorOf(error, settings);
    if (!(denied instanceof RedisPermissionError)) throw denied;
    events.noticesForbidden(addressOf(settings), denied);
  }
  return { areHeard: () => areChangesHeard };
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
