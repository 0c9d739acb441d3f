/**
 * One unbroken stretch of listening to one primary: connect → check its role → make sure that it
 * notifies → subscribe → prove it → listen. Whatever breaks it ends the whole stretch; the next
 * one begins from the start, so that coming back runs the same code as coming up.
 */
import type { Redis } from 'ioredis';
import { type Chance, type Clock, untilAborted } from '../lib/clock.js';
import { RedisChangedError, type RelayError } from '../model/errors.js';
import type { RedisSettings } from '../model/vocabulary.js';
import { addressOf, redisErrorOf, replicaError } from '../redis/client.js';
import { connect, type RedisConnection } from '../redis/connect.js';
import { isElsewhere, type Locator } from '../redis/locator.js';
import { isReply } from '../redis/refusal.js';
import { refuseSentinel } from '../redis/sentinels/sentinel-port.js';
import { ASK_EVERY_MS, type ServerClock } from '../redis/server-clock.js';
import { judgeServer, publishesRemovals } from '../server/judge.js';
import { PropertyReader, type ServerProperties } from '../server/properties.js';
import { Canary } from './canary.js';
import { keepAlive, ReconnectingConnection } from './connection.js';
import { differentServers, runIdOf } from './identity.js';
import { Keyspace } from './keyspace.js';
import { MARKER, Marker } from './marker.js';
import { Marks } from './marks.js';
import { ensureNotifications, watchNotifications } from './notifications.js';
import { Primary } from './primary.js';
import { type Proof, Prover } from './prover.js';
import { ServerIdentity } from './server-identity.js';
import { type SubscriptionParts, subscribe } from './subscription.js';

export interface SessionParts extends SubscriptionParts {
  /** Where the primary is; `settings` has the address at the beginning of the session. */
  readonly locator: Locator<RedisSettings>;
  /** What the relay's own keys begin with that are written on this server. */
  readonly ownPrefix: () => string;
  /** The key that says which server this is. */
  readonly serverKey: string;
  /** In a cluster, a connection to the node that has that key. */
  readonly ownerOf: ((key: string) => Promise<Redis>) | null;
  /** The channel on which marks are published; null: no other replica needs any. */
  readonly marksChannel: string | null;
  readonly clock: Clock;
  readonly chance: Chance;
}

export interface Session {
  /** The server's address, for logs. */
  readonly address: string;
  readonly databases: readonly number[];
  /** Resolves, once, with why the stretch ended. Never rejects. */
  readonly ended: Promise<RelayError>;
  /** What the last canaries showed. */
  proof(): Proof;
  /** When notifications were last known to flow, by the monotonic clock. */
  provedAtMs(): number;
  /**
   * Whether an `expired` long before the deadline can only be of a key that a command removed: the
   * server publishes that, and every change of a deadline is received.
   */
  tellsRemovals(): boolean;
  /** Resolves once all that Redis has published by now has been handed on; rejects with the connection. */
  barrier(): Promise<void>;
  /** The server's, another one for each process; null when it does not show it. */
  readonly runId: string | null;
  /** Resolves when the server still is the primary that the session began with; rejects otherwise. */
  isPrimary(): Promise<void>;
  readonly keyspace: Keyspace;
  /** The same on a connection of its own, for what nobody waits for. */
  readonly sweepKeyspace: Keyspace;
  readonly marker: Marker;
  readonly marks: Marks;
  readonly identity: ServerIdentity;
  close(): void;
}

/** Whether the server is known to be the primary no more; the session ends with that. Never rejects. */
export async function isDemoted({ isPrimary }: Pick<Session, 'isPrimary'>): Promise<boolean> {
  try {
    await isPrimary();
    return false;
  } catch (error) {
    return error instanceof RedisChangedError;
  }
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
  const moved = movedFrom(parts);
  void untilAborted(closing.signal).then(moved.stop);
  const opened: RedisConnection[] = [];
  let isOpening = true;
  const onOpened = (connection: RedisConnection) => void (isOpening && opened.push(connection));
  try {
    signal.throwIfAborted();
    const opening = open(parts, moved.error, onOpened, closing.signal, close);
    return await Promise.race([opening, moved.error.then((error) => Promise.reject(error))]);
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

/** Resolves when another server is the primary. */
function movedFrom({ settings, locator }: Pick<SessionParts, 'settings' | 'locator'>): {
  readonly error: Promise<RelayError>;
  readonly stop: () => void;
} {
  let stop = () => {};
  const error = new Promise<RelayError>((resolve) => {
    const look = () => {
      const found = changeOf(settings, locator);
      if (found !== null) resolve(found);
    };
    stop = locator.onMoved(look);
    look();
  });
  return { error, stop };
}

/** Null: the primary is where the session began. */
function changeOf(
  settings: RedisSettings,
  locator: Locator<RedisSettings>,
): RedisChangedError | null {
  if (!isElsewhere(locator, settings)) return null;
  return new RedisChangedError(
    `the primary is Redis at ${addressOf(locator.address)} now, no longer the one at ${addressOf(settings)}. The relay ` +
      'reconnects and recovers missed expirations',
  );
}

async function open(
  parts: SessionParts,
  moved: Promise<RelayError>,
  onOpened: (connection: RedisConnection) => void,
  closing: AbortSignal,
  close: () => void,
): Promise<Session> {
  const { settings, events, clock, chance, serverClock } = parts;
  const address = addressOf(settings);
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
  const { redis } = commands;
  const properties = new PropertyReader(redis);
  const found = await properties.read();
  await refuseOther(redis, found, settings);
  const setting = await ensureNotifications(redis, settings, events);
  const clockAheadMs = await serverClock.begin(redis);
  const report = (read: ServerProperties) =>
    events.server(address, judgeServer(read, settings, clockAheadMs));
  report(found);
  const markerKey = () => `${parts.ownPrefix()}${MARKER}`;
  const primary = await Primary.open({ redis, settings, ownKey: markerKey });
  const isPrimary = async () => {
    const change = changeOf(settings, parts.locator);
    if (change !== null) throw change;
    await primary.check();
  };
  const readOn = async (role: string) => {
    const open = () => connectUntouching(() => connectTo(role), settings);
    const onReopened = (error: RelayError) => events.reopened(address, role, error);
    return ReconnectingConnection.open({ open, onReopened, clock, closing });
  };
  const reading = await readOn('deadlines');
  const sweeping = await readOn('sweep');
  const subscriber = await connectTo('subscriber');
  void keepAlive(subscriber, clock);
  const isOneOfSeveral = settings.cluster !== null;
  const canary = new Canary(redis, clock, parts.ownPrefix, chance.token());
  const marks = new Marks({
    redis,
    channel: parts.marksChannel,
    runId,
    onRefused: (error) => events.marksForbidden(address, redisErrorOf(error, settings)),
  });
  const changes = await subscribe(subscriber, canary, marks, setting, parts, closing);
  const prover = new Prover(canary, { setting, areChangesAllowed: changes.areAllowed }, parts);
  await Promise.race([prover.proveAll(closing), failure(commands), failure(subscriber)]);
  const recheck = async () => {
    await isPrimary();
    for (const one of [reading, sweeping]) {
      const error = differentServers(runId, await one.run(runIdOf), settings);
      if (error !== null) throw error;
    }
    report(await properties.read());
  };
  const ended = Promise.race([
    commands.ended,
    subscriber.ended,
    primary.lost,
    moved,
    prover.proveForever(recheck, closing).catch((error: unknown) => redisErrorOf(error, settings)),
    reading.ended,
    sweeping.ended,
    watchNotifications(redis, setting, settings, clock, closing),
    keepTime(serverClock, commands, clock, closing),
  ]).finally(close);
  return {
    address,
    databases: settings.databases,
    ended,
    proof: () => prover.proof,
    provedAtMs: () => prover.provedAtMs,
    tellsRemovals: () => publishesRemovals(found) && changes.arePublished(),
    barrier: () => barrierOn(subscriber.redis),
    runId,
    isPrimary,
    keyspace: new Keyspace(reading, serverClock, isPrimary, isOneOfSeveral),
    marker: new Marker(redis, markerKey),
    marks,
    identity: identityOf(parts, redis, runId),
    sweepKeyspace: new Keyspace(sweeping, serverClock, isPrimary, isOneOfSeveral),
    close,
  };
}

/** A cluster has one identity, in the slot of its key, and no run_id. */
function identityOf(
  { serverKey, ownerOf }: Pick<SessionParts, 'serverKey' | 'ownerOf'>,
  redis: Redis,
  runId: string | null,
): ServerIdentity {
  if (ownerOf === null) return new ServerIdentity(async () => redis, serverKey, runId);
  return new ServerIdentity(() => ownerOf(serverKey), serverKey, null);
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

/**
 * Resolves once everything that was published before has arrived. Any reply comes behind it, also an error: a server that
 * cannot save its data (MISCONF) rejects PING.
 */
async function barrierOn(subscriber: Redis): Promise<void> {
  try {
    await subscriber.ping();
  } catch (error) {
    if (!isReply(error)) throw error;
  }
}

/** Rejects when the connection ends. */
async function failure(connection: RedisConnection): Promise<never> {
  throw await connection.ended;
}

/** Where the server does not say what it is, the canary finds out: a replica refuses to be written. */
async function refuseOther(
  redis: Redis,
  { role, primary, isSentinel }: ServerProperties,
  settings: RedisSettings,
): Promise<void> {
  if (isSentinel) await refuseSentinel(redis, settings, 'redis');
  if (role === 'replica') throw replicaError(settings, primary);
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
