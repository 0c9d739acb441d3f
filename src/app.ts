/** The relay, wired: the only place that picks implementations. */
import { setMaxListeners } from 'node:events';
import { type Check, startAdmin } from './admin/server.js';
import { Capture } from './capture/capture.js';
import { type Chance, type Clock, untilAborted } from './clock.js';
import { createLookup } from './delivery/lookup.js';
import { createSender } from './delivery/send.js';
import { Worker } from './delivery/worker.js';
import { createEvents, type Events } from './events/events.js';
import { Lifecycle } from './lifecycle.js';
import { createLog, type LogOutput } from './log.js';
import { Metrics } from './metrics.js';
import { MemoryOutbox } from './outbox/memory-outbox.js';
import type { Outbox } from './outbox/outbox.js';
import { Presence } from './outbox/presence.js';
import { RedisOutbox } from './outbox/redis-outbox.js';
import { defineScripts } from './outbox/scripts/scripts.js';
import { Upkeep } from './outbox/upkeep.js';
import { Source } from './source/source.js';
import { ownKeyPrefix } from './state/format.js';
import { RedisState } from './state/redis-state.js';
import { VERSION } from './version.js';
import type { DeadLetter, Settings, StateSettings } from './vocabulary.js';

/** How much longer than `shutdown.grace` the last attempts may take to be broken off. */
const BREAK_OFF_MS = 2_000;

/** A stop must not take longer than its grace because of what it has to say. */
const LOST_LINES_MAX = 10_000;

export interface RelayParts {
  readonly settings: Settings;
  /** The file that the settings came from; for the log. */
  readonly file: string;
  /** Where the log goes. */
  readonly output: LogOutput;
  readonly clock: Clock;
  readonly chance: Chance;
}

/** Everything that the parts of the relay share. */
interface Wiring extends RelayParts {
  readonly metrics: Metrics;
  readonly events: Events;
  readonly lifecycle: Lifecycle;
  /** Aborts when it is time to stop. */
  readonly stop: AbortSignal;
  /** Aborts when `shutdown.grace` is over. */
  readonly graceOver: AbortSignal;
}

/**
 * Runs until `stop` aborts, finishes what is under way within `shutdown.grace`, and resolves.
 * Rejects with a RelayError, everything put away, when it cannot start.
 */
export async function runRelay(parts: RelayParts, stop: AbortSignal): Promise<void> {
  const { settings, output, clock } = parts;
  const metrics = new Metrics(settings);
  const log = createLog(settings.log, output, () => metrics.logLinesDropped.inc());
  const events = createEvents(log, metrics, clock);
  const lifecycle = new Lifecycle(clock, (name, error) => events.relay.cleanUpFailed(name, error));
  const grace = new AbortController();
  // Each endpoint listens to it.
  setMaxListeners(0, grace.signal);
  try {
    await start({ ...parts, metrics, events, lifecycle, stop, graceOver: grace.signal });
    await untilAborted(stop);
    events.relay.stopping(String(stop.reason), settings.shutdown.graceMs);
  } catch (error) {
    events.relay.failed(error);
    throw error;
  } finally {
    const cancelGrace = clock.after(settings.shutdown.graceMs, () => grace.abort());
    await lifecycle.stop();
    cancelGrace();
  }
}

/** In the order of dependence; what starts last stops first. */
async function start(wiring: Wiring): Promise<void> {
  const { metrics } = wiring;
  const source = createSource(wiring, (expiration) => capture.expired(expiration));
  const state = createState(wiring);
  await openAdmin(wiring, () => [...source.checks(), ...state.checks()]);
  const outbox = state.open();
  metrics.watchProcess();
  metrics.watchOutbox((endpoint) => outbox.depth(endpoint));
  startDelivery(wiring, outbox);
  const capture = startCapture(wiring, outbox);
  metrics.watchCapture(() => capture.queued);
  // At the same time: what expires while the state is away at the start is captured as well.
  await Promise.all([startSource(wiring, source), state.usable()]);
}

async function openAdmin(wiring: Wiring, partChecks: () => readonly Check[]): Promise<void> {
  const { settings, metrics, events, lifecycle, stop, file } = wiring;
  const checks = (): Check[] => {
    const running: Check = { name: 'running', problem: stop.aborted ? 'shutting down' : null };
    return [...partChecks(), running];
  };
  const admin = await startAdmin({
    listen: settings.admin.listen,
    checks,
    metrics: () => metrics.text(),
    metricsType: metrics.contentType,
  });
  lifecycle.onStop('admin', () => admin.close());
  events.relay.started(VERSION, file, settings, admin.address);
}

/** Where the outbox is kept: what is ready of it, and how it is opened. */
interface State {
  readonly checks: () => readonly Check[];
  readonly open: () => Outbox;
  /** Resolves when it can be used, or at a stop; rejects when waiting cannot help. */
  readonly usable: () => Promise<void>;
}

function createState(wiring: Wiring): State {
  const { settings, events, clock } = wiring;
  switch (settings.state.kind) {
    case 'memory': {
      const onEvicted = (letter: DeadLetter) => events.outbox.deadLetterEvicted(letter);
      const outbox = new MemoryOutbox(clock, onEvicted);
      return { checks: () => [], open: () => outbox, usable: async () => undefined };
    }
    case 'redis':
      return createRedisState(wiring, settings.state);
  }
}

function createRedisState(
  { settings, events, lifecycle, clock, chance, stop, graceOver }: Wiring,
  redisSettings: Extract<StateSettings, { kind: 'redis' }>,
): State {
  const { deadLetters, unknownEndpointGraceMs } = redisSettings;
  const state = new RedisState({ ...redisSettings, clock, events: events.state });
  const scripts = defineScripts(state.redis);
  const replica = chance.token();
  const outbox = new RedisOutbox({
    state,
    scripts,
    replica,
    clock,
    deadLettersMax: deadLetters.countMax,
    onDeadLettersEvicted: (...what) => events.outbox.deadLettersEvicted(...what),
    onUnreadable: (...what) => events.outbox.unreadable(...what),
  });
  lifecycle.onStop('state', () => state.close());
  void untilAborted(stop).then(() => state.closeIfSilent());
  void untilAborted(graceOver).then(() => state.closeIfSilent());
  return {
    checks: () => [{ name: 'state', problem: state.problem }],
    usable: () => state.usable(stop),
    open: () => {
      const presence = new Presence({
        state,
        scripts,
        replica,
        endpoints: [...settings.endpoints.keys()],
        clock,
        onReclaimed: (...what) => events.outbox.reclaimed(...what),
      });
      presence.start();
      lifecycle.onStop('presence', () => presence.stop());
      const upkeep = new Upkeep({
        state,
        scripts,
        outbox,
        clock,
        keepMs: deadLetters.keepMs,
        graceMs: unknownEndpointGraceMs,
        events: events.outbox,
      });
      upkeep.start();
      lifecycle.onStop('upkeep', () => upkeep.stop());
      return outbox;
    },
  };
}

function startDelivery(wiring: Wiring, outbox: Outbox): void {
  const { settings, events, lifecycle, graceOver, clock, chance } = wiring;
  lifecycle.onStop('outbox', async () => {
    const lost = await outbox.close();
    for (const delivery of lost.slice(0, LOST_LINES_MAX)) events.outbox.lost(delivery);
    events.relay.stopped(lost.length);
  });
  const lookup = createLookup(clock);
  const workers = [...settings.endpoints.values()].map((endpoint) => {
    const sender = createSender(endpoint, clock, lookup);
    return new Worker({ endpoint, sender, outbox, events: events.delivery, clock, chance });
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
}

function startCapture(wiring: Wiring, outbox: Outbox): Capture {
  const { settings, events, lifecycle, graceOver, clock, chance } = wiring;
  const capture = new Capture({
    routes: settings.routes,
    outbox,
    events: events.capture,
    clock,
    chance,
  });
  const msMax = settings.shutdown.graceMs + BREAK_OFF_MS;
  lifecycle.onStop('capture', () => capture.stop(graceOver), msMax);
  return capture;
}

function createSource(wiring: Wiring, onExpired: Capture['expired']): Source {
  const { settings, events, clock, chance } = wiring;
  return new Source({
    settings: settings.redis,
    ownPrefix: ownKeyPrefix(settings.state.prefix),
    events: events.source,
    clock,
    chance,
    onExpired,
  });
}

/** Resolves when the relay listens, or when it is told to stop before that. */
async function startSource({ lifecycle, stop }: Wiring, source: Source): Promise<void> {
  lifecycle.onStop('source', () => source.stop());
  void untilAborted(stop).then(() => source.stop());
  await source.start();
}
