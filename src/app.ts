/** The relay, wired. */
import { setMaxListeners } from 'node:events';
import { isClosed } from './admin/access.js';
import { connectionsMax } from './admin/connections.js';
import { type Check, startAdmin } from './admin/server.js';
import { LiveSettings } from './config/live-settings.js';
import type { Loaded } from './config/load.js';
import type { Changes } from './config/reload-decision.js';
import { Reloader } from './config/reloader.js';
import type { Reading } from './config/settings-source.js';
import { createDnsLookup } from './delivery/dns.js';
import { goneChecks } from './delivery/gone-endpoints.js';
import { Workers } from './delivery/workers.js';
import { fewOpenFiles, spareOpenFiles } from './doctor/open-files.js';
import { type Chance, type Clock, untilAborted } from './lib/clock.js';
import type { Hangups } from './lib/hangups.js';
import { Lifecycle } from './lib/lifecycle.js';
import { VERSION } from './lib/version.js';
import type { ReloadResult } from './model/reload.js';
import type { Settings } from './model/vocabulary.js';
import type { Outbox } from './outbox/outbox.js';
import { Partition } from './partition/partition.js';
import { placeOf } from './redis/client.js';
import { Locators } from './redis/locators.js';
import { ServerClock } from './redis/server-clock.js';
import { tagOf } from './redis/slots.js';
import { Routing } from './routing/routes.js';
import { Listener } from './source/listener.js';
import { type Followed, Listeners } from './source/listeners.js';
import { Replicas } from './source/replicas.js';
import { type Topology, topologyOf, type WatchedPrimary } from './source/topology.js';
import {
  marksChannel,
  ownKeyPrefix,
  ownKeyPrefixIn,
  serverKey,
  taggedKeyPrefix,
} from './state/format.js';
import { createStores } from './stores.js';
import type { BufferedOutput } from './telemetry/buffered-output.js';
import { type Events, openEvents } from './telemetry/events.js';
import { Metrics } from './telemetry/metrics.js';
import type { ProcessReports } from './telemetry/process-reports.js';

/** How much longer than `shutdown.grace` the last attempts may take to be broken off. */
const BREAK_OFF_MS = 2_000;

/** A start that takes longer says what it waits for: a Redis that is silent gives no error for seconds. */
const SLOW_START_MS = 1_000;

/** A stop must not take longer than its grace because of what it has to say. */
const LOST_LINES_MAX = 10_000;

export interface RelayParts {
  /** The configuration at the start. */
  readonly loaded: Loaded;
  /** Loads the configuration again. */
  readonly read: () => Promise<Reading>;
  /** Asks for reloads. */
  readonly hangups: Pick<Hangups, 'listen'>;
  /** Where the log goes. */
  readonly output: BufferedOutput;
  /** What is wrong with the process. */
  readonly reports: ProcessReports;
  readonly clock: Clock;
  readonly chance: Chance;
}

/** Everything that the parts of the relay share. */
interface Wiring extends RelayParts {
  readonly settings: LiveSettings;
  readonly metrics: Metrics;
  readonly events: Events;
  readonly lifecycle: Lifecycle;
  readonly serverClock: ServerClock;
  readonly locators: Locators;
  /** Aborts when it is time to stop. */
  readonly stop: AbortSignal;
  /** Aborts when `shutdown.grace` is over. */
  readonly graceOver: AbortSignal;
}

/**
 * Runs until `stop` aborts, finishes the attempts in progress within `shutdown.grace`, and resolves with
 * null. When it cannot start it resolves, everything put away, with the error, which is in the log.
 */
export async function runRelay(parts: RelayParts, stop: AbortSignal): Promise<Error | null> {
  const { clock } = parts;
  const settings = new LiveSettings(parts.loaded.settings);
  const metrics = new Metrics(settings.current);
  const events = openEvents({ ...parts, log: settings.current.log }, metrics);
  const lifecycle = new Lifecycle(clock, (name, error) => events.relay.cleanUpFailed(name, error));
  const grace = new AbortController();
  // Each endpoint listens to it.
  setMaxListeners(0, grace.signal);
  try {
    const serverClock = new ServerClock(clock, (stepMs) => events.source.clockSet(stepMs));
    const locators = new Locators(clock, events.source);
    lifecycle.onStop('locators', async () => locators.close());
    const graceOver = grace.signal;
    const shared = { settings, metrics, events, lifecycle, serverClock, locators };
    await start({ ...parts, ...shared, stop, graceOver });
    await untilAborted(stop);
    events.relay.stopping(String(stop.reason), settings.current.shutdown.graceMs);
    return null;
  } catch (error) {
    events.relay.failed(error);
    return error as Error;
  } finally {
    const cancelGrace = clock.after(settings.current.shutdown.graceMs, () => grace.abort());
    await lifecycle.stop();
    cancelGrace();
  }
}

/** Each part refers to those above it alone. They start in the order of dependence; what starts last stops first. */
async function start(wiring: Wiring): Promise<void> {
  const { settings, metrics, events, serverClock, clock, chance } = wiring;
  const { redis } = settings.current;
  const routing = new Routing(() => settings.current.routes, ...ownPrefixesOf(settings.current));
  const topology = topologyOf(redis, wiring.locators);
  const stores = createStores(wiring);
  const partition = new Partition({
    databases: redis.databases,
    routing,
    stores,
    serverClock,
    refreshTopology: () => topology.refresh(),
    events,
    clock,
    chance,
  });
  const listeners = createListeners(wiring, topology, partition);
  const workers = createWorkers(wiring, stores.outbox);
  const checks = () => [
    ...listeners.checks(),
    ...stores.checks(),
    ...sentinelChecks(wiring.locators),
    ...goneChecks(workers.gone),
  ];
  const reloader = createReloader(wiring, (changes, isAsked) => {
    workers.apply(changes, isAsked);
    stores.reconfigure();
    if (changes.haveRoutes) partition.reroute();
  });
  // First, and closed last: probes are answered while others start and stop.
  await openAdmin(wiring, checks, () => reloader.reload('api'));
  metrics.watchProcess(VERSION);
  metrics.watchPrimaries(() => listeners.coverage);
  metrics.watchOutbox((endpoint) => stores.outbox.depth(endpoint));
  metrics.watchCapture(
    () => partition.queued,
    () => partition.tracked(),
  );
  stores.start();
  startDelivery(wiring, stores.outbox, workers);
  startPartition(wiring, partition);
  startReplicas(wiring, topology);
  startReloads(wiring, reloader);
  // At the same time: what expires while the state is away at the start is captured as well.
  const cancel = clock.after(SLOW_START_MS, () => events.relay.waiting(checks()));
  await Promise.all([startListeners(wiring, listeners), stores.usable()]).finally(cancel);
  if (!wiring.stop.aborted) events.relay.started();
}

/** `follow` makes the parts follow the settings, which have changed. */
function createReloader(
  { loaded, read, settings, metrics, events, clock, stop }: Wiring,
  follow: (changes: Changes, isAsked: boolean) => void,
): Reloader {
  return new Reloader({
    settings,
    first: loaded,
    read,
    apply: (changes, isAsked) => {
      const { current } = settings;
      events.relay.setLevel(current.log.level);
      metrics.follow(current);
      for (const name of changes.added) {
        const endpoint = current.endpoints.get(name);
        if (endpoint !== undefined) events.relay.signing(endpoint);
      }
      follow(changes, isAsked);
      void warnOfFewOpenFiles(current, events);
    },
    events: events.reload,
    onInternalError: (error) => events.state.internalError('reload', error),
    clock,
    stop,
  });
}

function startReloads({ hangups, lifecycle }: Wiring, reloader: Reloader): void {
  reloader.start();
  lifecycle.onStop('reload', () => reloader.stop());
  hangups.listen(() => void reloader.reload('signal'));
}

async function warnOfFewOpenFiles({ endpoints }: Settings, events: Events): Promise<void> {
  const few = await fewOpenFiles([...endpoints.values()]);
  if (few !== null) events.relay.fewOpenFiles(few.text, few.advice);
}

async function openAdmin(
  wiring: Wiring,
  partChecks: () => readonly Check[],
  reload: () => Promise<ReloadResult>,
): Promise<void> {
  const { metrics, events, lifecycle, stop, loaded, clock } = wiring;
  const settings = wiring.settings.current;
  const checks = (): Check[] => {
    const running: Check = { name: 'running', problem: stop.aborted ? 'shutting down' : null };
    return [...partChecks(), running];
  };
  const endpoints = [...settings.endpoints.values()];
  const admin = await startAdmin({
    listen: settings.admin.listen,
    checks,
    page: () => wiring.settings.current.admin.page,
    reload,
    metrics: () => metrics.text(clock.turn),
    metricsType: metrics.contentType,
    clock,
    connectionsMax: connectionsMax(await spareOpenFiles(endpoints)),
    onClosed: (limit) => metrics.adminConnectionsClosed.inc({ limit }),
    onError: (error) => events.relay.connectionNotAccepted(error),
  });
  lifecycle.onStop('admin', () => admin.close());
  events.relay.starting(VERSION, loaded.file, settings, admin.address);
  const { page } = settings.admin;
  if (page.enabled && isClosed(page, admin.address)) events.relay.apiClosed();
  await warnOfFewOpenFiles(settings, events);
}

function createWorkers(
  { settings, events, serverClock, clock, chance }: Wiring,
  outbox: Outbox,
): Workers {
  const maxAgesMs = settings.derive(
    ({ routes }) => new Map(routes.map(({ name, maxAgeMs }) => [name, maxAgeMs])),
  );
  return new Workers({
    endpoints: () => settings.current.endpoints,
    graceMs: () => settings.current.shutdown.graceMs,
    lookup: createDnsLookup(clock),
    outbox,
    maxAgeMs: (route) => maxAgesMs().get(route) ?? null,
    events: events.delivery,
    serverNowMs: () => serverClock.nowMs(),
    clock,
    chance,
  });
}

function startDelivery(
  { settings, events, lifecycle, graceOver }: Wiring,
  outbox: Outbox,
  workers: Workers,
): void {
  lifecycle.onStop('outbox', async () => {
    const lost = await outbox.close();
    for (const delivery of lost.slice(0, LOST_LINES_MAX)) events.outbox.lost(delivery);
    events.relay.stopped(lost.length);
  });
  workers.start();
  lifecycle.onStop(
    'delivery',
    async () => {
      if (!outbox.durable) await workers.drained(graceOver);
      await workers.stop(graceOver);
      events.delivery.flush();
    },
    () => settings.current.shutdown.graceMs + BREAK_OFF_MS,
  );
}

function startPartition({ settings, lifecycle, graceOver }: Wiring, partition: Partition): void {
  partition.start();
  const msMax = () => settings.current.shutdown.graceMs + BREAK_OFF_MS;
  lifecycle.onStop('capture', () => partition.stop(graceOver), msMax);
  lifecycle.onStop('standby', () => partition.stopListening());
}

/** The partition uses the clock of the first primary. */
function createListeners(wiring: Wiring, topology: Topology, partition: Partition): Listeners {
  const { events, clock, chance } = wiring;
  let isFirst = true;
  const follow = (primary: WatchedPrimary): Followed => {
    const onSet = (stepMs: number) => events.source.clockSet(stepMs);
    const serverClock = isFirst ? wiring.serverClock : new ServerClock(clock, onSet);
    isFirst = false;
    const { slots } = primary;
    const listener = createListener(wiring, primary, serverClock);
    const feed = partition.follow({ slots, serverClock });
    return {
      listener,
      sink: feed,
      sweepNow: () => partition.sweepNow(slots),
      unfollow: () => partition.unfollow(feed),
    };
  };
  return new Listeners({
    topology,
    follow,
    onUnknown: (error, retryInMs) =>
      events.source.redisUnavailable(placeOf(wiring.settings.current.redis), error, retryInMs),
    clock,
    chance,
  });
}

/** What the keys of the relay's own begin with. */
function ownPrefixesOf({ redis, state: { prefix } }: Settings): readonly string[] {
  const own = ownKeyPrefix(prefix);
  return redis.cluster === null ? [own] : [own, taggedKeyPrefix(prefix)];
}

function createListener(
  wiring: Wiring,
  { locator, slots }: WatchedPrimary,
  serverClock: ServerClock,
): Listener {
  const { events, clock, chance, locators } = wiring;
  const settings = wiring.settings.current;
  const { kind, prefix } = settings.state;
  const ownPrefixIn = () => ownKeyPrefixIn(prefix, tagOf(slots.first ?? 0));
  const { redis } = settings;
  return new Listener({
    serverClock,
    locator,
    ownPrefixes: ownPrefixesOf(settings),
    ownPrefix: redis.cluster === null ? () => ownKeyPrefix(prefix) : ownPrefixIn,
    serverKey: serverKey(prefix),
    ownerOf:
      redis.cluster === null ? null : (key) => locators.clusterOf(redis, 'redis').ownerOf(key),
    marksChannel: kind === 'memory' ? null : marksChannel(prefix),
    events: events.source,
    clock,
    chance,
  });
}

/** While the relay is connected, it does not depend on the sentinels. */
function sentinelChecks({ hasSentinels, problems }: Locators): Check[] {
  if (!hasSentinels) return [];
  const note = problems.length === 0 ? {} : { note: problems.join('; ') };
  return [{ name: 'sentinels', problem: null, ...note }];
}

function startReplicas({ events, clock, lifecycle }: Wiring, topology: Topology): void {
  const replicas = new Replicas({ topology, events: events.source, clock });
  replicas.start();
  lifecycle.onStop('replicas', () => replicas.stop());
}

/** Resolves when the relay listens, or when it is stopped before that. */
async function startListeners({ lifecycle, stop }: Wiring, listeners: Listeners): Promise<void> {
  lifecycle.onStop('listener', () => listeners.stop());
  void untilAborted(stop).then(() => listeners.stop());
  await listeners.start();
}
