/** The relay, wired. */
import { setMaxListeners } from 'node:events';
import { connectionsMax } from './admin/connections.js';
import { type Check, startAdmin } from './admin/server.js';
import { Capture } from './capture/capture.js';
import type { CaptureParts, Index } from './capture/parts.js';
import { type Chance, type Clock, untilAborted } from './clock.js';
import { Tracker } from './deadlines/tracker.js';
import { goneChecks } from './delivery/gone-endpoints.js';
import { LiveEndpoint } from './delivery/live-endpoint.js';
import { createLookup } from './delivery/lookup.js';
import { createSender } from './delivery/send.js';
import { Worker } from './delivery/worker.js';
import { fewOpenFiles, spareOpenFiles } from './doctor/open-files.js';
import { type Events, openEvents } from './events/events.js';
import type { GatheredOutput } from './gathered-output.js';
import { Lifecycle } from './lifecycle.js';
import { Metrics } from './metrics.js';
import type { Outbox } from './outbox/outbox.js';
import type { ProcessReports } from './process-reports.js';
import { globsOf, isRouted } from './routing.js';
import { ServerClock } from './source/server-clock.js';
import { Source, type SourceParts } from './source/source.js';
import { markerKey, ownKeyPrefix, serverKey } from './state/format.js';
import { createStores } from './stores.js';
import { createValueKeeper, type ValueKeeper } from './values/keeper.js';
import { VERSION } from './version.js';
import type { KeyInDatabase, Settings } from './vocabulary.js';
import { Standby, type StandbyParts } from './watch/standby.js';
import { Watch, type WatchParts } from './watch/watch.js';

/** How much longer than `shutdown.grace` the last attempts may take to be broken off. */
const BREAK_OFF_MS = 2_000;

/** A start that takes longer says what it waits for: a Redis that is silent gives no error for seconds. */
const SLOW_START_MS = 1_000;

/** A stop must not take longer than its grace because of what it has to say. */
const LOST_LINES_MAX = 10_000;

export interface RelayParts {
  readonly settings: Settings;
  /** The file that the settings came from; for the log. */
  readonly file: string;
  /** Where the log goes. */
  readonly output: GatheredOutput;
  /** What is wrong with the process. */
  readonly reports: ProcessReports;
  readonly clock: Clock;
  readonly chance: Chance;
}

/** Everything that the parts of the relay share. */
interface Wiring extends RelayParts {
  readonly metrics: Metrics;
  readonly events: Events;
  readonly lifecycle: Lifecycle;
  readonly serverClock: ServerClock;
  /** Aborts when it is time to stop. */
  readonly stop: AbortSignal;
  /** Aborts when `shutdown.grace` is over. */
  readonly graceOver: AbortSignal;
}

/**
 * Runs until `stop` aborts, finishes what is under way within `shutdown.grace`, and resolves with
 * null. When it cannot start it resolves, everything put away, with the error, which is in the log.
 */
export async function runRelay(parts: RelayParts, stop: AbortSignal): Promise<Error | null> {
  const { settings, clock } = parts;
  const metrics = new Metrics(settings);
  const events = openEvents(parts, metrics);
  const lifecycle = new Lifecycle(clock, (name, error) => events.relay.cleanUpFailed(name, error));
  const grace = new AbortController();
  // Each endpoint listens to it.
  setMaxListeners(0, grace.signal);
  try {
    const serverClock = new ServerClock(clock, (stepMs) => events.source.clockSet(stepMs));
    const graceOver = grace.signal;
    await start({ ...parts, metrics, events, lifecycle, serverClock, stop, graceOver });
    await untilAborted(stop);
    events.relay.stopping(String(stop.reason), settings.shutdown.graceMs);
    return null;
  } catch (error) {
    events.relay.failed(error);
    return error as Error;
  } finally {
    const cancelGrace = clock.after(settings.shutdown.graceMs, () => grace.abort());
    await lifecycle.stop();
    cancelGrace();
  }
}

/** In the order of dependence; what starts last stops first. */
async function start(wiring: Wiring): Promise<void> {
  const { settings, metrics, events, clock } = wiring;
  const source = createSource(wiring, {
    onExpired: (expiration) => standby.expired(expiration),
    onNotice: (notice) => standby.noticed(notice),
    onListening: (session) => standby.listening(session),
    onDeaf: () => standby.deaf(),
  });
  const stores = createStores(wiring);
  const workers: Worker[] = [];
  const checks = () => [...source.checks(), ...stores.checks(), ...goneChecks(workers)];
  await openAdmin(wiring, checks);
  const onInvalid = (keys: readonly KeyInDatabase[]) => {
    for (const { database, key } of keys) capture.noticed({ kind: 'changed', database, key });
  };
  const { outbox, deadlines, values: kept, lease, server } = stores.open(onInvalid);
  metrics.watchProcess();
  metrics.watchOutbox((endpoint) => outbox.depth(endpoint));
  workers.push(...startDelivery(wiring, outbox));
  const tracker = new Tracker(deadlines, (key) => watch.tracked(key.database, key.deadlineMs));
  const { routes } = settings;
  const values = createValueKeeper({ routes, values: kept, events: events.values, clock });
  const askTime = () => source.askTime();
  const onFenced: CaptureParts['onFenced'] = (heard) => standby.fenced(heard);
  const capture = startCapture(
    wiring,
    { outbox, values, askTime, onFenced },
    {
      of: (keys) => deadlines.of(keys),
      overtaken: (keys) => tracker.overtaken(keys),
      claimed: (keys) => deadlines.letGo(keys),
      isCatchingUp: () => watch.isCatchingUp(),
      caughtUp: () => watch.caughtUp(),
      tellsRemovals: (database) => watch.tellsRemovals(database),
      noticeLost: () => watch.noticeLost(),
      changed: (keys) => watch.changed(keys),
      removed: (keys) => watch.removed(keys),
    },
  );
  metrics.watchCapture(
    () => capture.queued,
    () => deadlines.count(),
  );
  const forgetValues = (database: number) => kept.forgetAll(database);
  const watch = createWatch(wiring, { deadlines, tracker, values, forgetValues, capture });
  const standby = startStandby(wiring, askTime, { watch, lease, server, deadlines, capture });
  // At the same time: what expires while the state is away at the start is captured as well.
  const cancel = clock.after(SLOW_START_MS, () => events.relay.waiting(checks()));
  await Promise.all([startSource(wiring, source), stores.usable()]).finally(cancel);
}

async function openAdmin(wiring: Wiring, partChecks: () => readonly Check[]): Promise<void> {
  const { settings, metrics, events, lifecycle, stop, file, clock } = wiring;
  const checks = (): Check[] => {
    const running: Check = { name: 'running', problem: stop.aborted ? 'shutting down' : null };
    return [...partChecks(), running];
  };
  const endpoints = [...settings.endpoints.values()];
  const admin = await startAdmin({
    listen: settings.admin.listen,
    checks,
    metrics: () => metrics.text(clock.turn),
    metricsType: metrics.contentType,
    clock,
    connectionsMax: connectionsMax(await spareOpenFiles(endpoints)),
    onClosed: (limit) => metrics.adminConnectionsClosed.inc({ limit }),
    onError: (error) => events.relay.connectionNotAccepted(error),
  });
  lifecycle.onStop('admin', () => admin.close());
  events.relay.started(VERSION, file, settings, admin.address);
  const few = await fewOpenFiles(endpoints);
  if (few !== null) events.relay.fewOpenFiles(few.text, few.advice);
}

function startDelivery(wiring: Wiring, outbox: Outbox): readonly Worker[] {
  const { settings, events, lifecycle, graceOver, serverClock, clock, chance } = wiring;
  lifecycle.onStop('outbox', async () => {
    const lost = await outbox.close();
    for (const delivery of lost.slice(0, LOST_LINES_MAX)) events.outbox.lost(delivery);
    events.relay.stopped(lost.length);
  });
  const lookup = createLookup(clock);
  const serverNowMs = () => serverClock.nowMs();
  const workers = [...settings.endpoints.values()].map((endpoint) => {
    const live = new LiveEndpoint(endpoint, events.delivery, clock);
    live.start();
    lifecycle.onStop(`files of endpoint ${endpoint.name}`, () => live.stop());
    const current = () => live.current;
    return new Worker({
      endpoint,
      current,
      sender: createSender(current, clock, lookup),
      outbox,
      events: events.delivery,
      serverNowMs,
      clock,
      chance,
    });
  });
  for (const worker of workers) worker.start();
  lifecycle.onStop(
    'delivery',
    async () => {
      if (!outbox.durable) await Promise.all(workers.map((worker) => worker.drained(graceOver)));
      await Promise.all(workers.map((worker) => worker.stop(graceOver)));
      events.delivery.ended();
    },
    settings.shutdown.graceMs + BREAK_OFF_MS,
  );
  return workers;
}

function startCapture(
  wiring: Wiring,
  {
    askTime,
    ...given
  }: Pick<CaptureParts, 'outbox' | 'onFenced'> & {
    readonly values: ValueKeeper | null;
    readonly askTime: () => Promise<void>;
  },
  index: Index,
): Capture {
  const { settings, events, lifecycle, graceOver, serverClock, clock, chance } = wiring;
  const capture = new Capture({
    routes: settings.routes,
    ...given,
    index,
    serverTime: { ask: askTime, corrected: (readMs) => serverClock.corrected(readMs) },
    events: events.capture,
    clock,
    chance,
  });
  const msMax = settings.shutdown.graceMs + BREAK_OFF_MS;
  lifecycle.onStop('capture', () => capture.stop(graceOver), msMax);
  return capture;
}

/** Which keys routes are about. */
function isWantedBy({ routes, state }: Settings): (key: Buffer) => boolean {
  const ownPrefix = Buffer.from(ownKeyPrefix(state.prefix));
  return (key) => !key.subarray(0, ownPrefix.length).equals(ownPrefix) && isRouted(routes, key);
}

function createWatch(
  wiring: Wiring,
  parts: Pick<WatchParts, 'deadlines' | 'tracker' | 'values' | 'forgetValues' | 'capture'>,
): Watch {
  const { settings, events, clock, serverClock } = wiring;
  return new Watch({
    databases: settings.redis.databases,
    globs: globsOf(settings.routes),
    isWanted: isWantedBy(settings),
    ...parts,
    serverNowMs: () => serverClock.nowMs(),
    events: events.watch,
    clock,
  });
}

function startStandby(
  { settings, events, lifecycle, clock, serverClock }: Wiring,
  askTime: () => Promise<void>,
  parts: Pick<StandbyParts, 'watch' | 'lease' | 'server' | 'deadlines' | 'capture'>,
): Standby {
  const standby = new Standby({
    ...parts,
    databases: settings.redis.databases,
    isWanted: isWantedBy(settings),
    serverNowMs: () => serverClock.nowMs(),
    serverTime: {
      ask: askTime,
      corrected: (readMs) => serverClock.corrected(readMs),
      correctedWritten: (writtenMs) => serverClock.correctedWritten(writtenMs),
    },
    events: events.watch,
    clock,
  });
  standby.start();
  lifecycle.onStop('standby', () => standby.stop());
  return standby;
}

type Heard = Pick<SourceParts, 'onExpired' | 'onNotice' | 'onListening' | 'onDeaf'>;

function createSource(wiring: Wiring, heard: Heard): Source {
  const { settings, events, clock, chance, serverClock } = wiring;
  return new Source({
    ...heard,
    serverClock,
    settings: settings.redis,
    ownPrefix: ownKeyPrefix(settings.state.prefix),
    markerKey: markerKey(settings.state.prefix),
    serverKey: serverKey(settings.state.prefix),
    events: events.source,
    clock,
    chance,
  });
}

/** Resolves when the relay listens, or when it is told to stop before that. */
async function startSource({ lifecycle, stop }: Wiring, source: Source): Promise<void> {
  lifecycle.onStop('source', () => source.stop());
  void untilAborted(stop).then(() => source.stop());
  await source.start();
}
