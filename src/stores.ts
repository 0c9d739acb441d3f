/** Picks where what must survive is kept: in Redis, or in this process. */
import { hostname } from 'node:os';
import type { Check } from './admin/server.js';
import type { LiveSettings } from './config/live-settings.js';
import type { Deadlines } from './deadlines/deadlines.js';
import { MemoryDeadlines } from './deadlines/memory-deadlines.js';
import { RedisDeadlines } from './deadlines/redis-deadlines.js';
import type { OnInvalid } from './deadlines/stored-entries.js';
import { type Chance, type Clock, untilAborted } from './lib/clock.js';
import type { Lifecycle } from './lib/lifecycle.js';
import { pluralize } from './lib/pluralize.js';
import { configurationOf } from './model/configuration.js';
import type { CapturedExpiration, DeadLetter, StateSettings } from './model/vocabulary.js';
import { Maintenance } from './outbox/maintenance.js';
import { MemoryMaintenance } from './outbox/memory-maintenance.js';
import { MEMORY_OUTBOX_LIMITS, MemoryOutbox } from './outbox/memory-outbox.js';
import type { Outbox } from './outbox/outbox.js';
import { Presence } from './outbox/presence.js';
import { RedisOutbox } from './outbox/redis-outbox.js';
import { defineOutboxScripts } from './outbox/scripts/scripts.js';
import { Waits } from './outbox/waits.js';
import type { Locators } from './redis/locators.js';
import { ALWAYS_HELD, type Lease, type Standing } from './state/lease.js';
import { QuarantineWatch } from './state/quarantine-watch.js';
import { RedisLease } from './state/redis-lease.js';
import { RedisState } from './state/redis-state.js';
import { stateLocator } from './state/state-locator.js';
import type { Events } from './telemetry/events.js';
import { MemoryValues } from './values/memory-values.js';
import { RedisValues } from './values/redis-values.js';
import type { Values } from './values/values.js';
import { ANY_SERVER, type ServerCheck, WatchedServer } from './watch/watched-server.js';

export interface StoresParts {
  readonly settings: LiveSettings;
  readonly events: Events;
  readonly lifecycle: Lifecycle;
  readonly locators: Locators;
  readonly clock: Clock;
  readonly chance: Chance;
  /** Aborts when it is time to stop. */
  readonly stop: AbortSignal;
  /** Aborts when `shutdown.grace` is over. */
  readonly graceOver: AbortSignal;
}

/** What a partition keeps. */
export interface PartitionStores {
  readonly outbox: Outbox;
  readonly values: Values;
  readonly lease: Lease;
  readonly server: ServerCheck;
  /** `onInvalid` is called with keys whose stored deadlines were no deadlines, and are to be read again. */
  readonly openDeadlines: (onInvalid: OnInvalid) => Deadlines;
}

export interface Stores extends PartitionStores {
  readonly checks: () => readonly Check[];
  /** Seeks the lease, and begins the maintenance; a stop ends both. */
  readonly start: () => void;
  /** Publishes this replica's configuration, which a reload has changed. */
  readonly reconfigure: () => void;
  /**
   * Resolves when it can be used for the keys that are watched, or at a stop; rejects when waiting cannot
   * help.
   */
  readonly usable: () => Promise<void>;
}

export function createStores(parts: StoresParts): Stores {
  const { settings, events, lifecycle, clock } = parts;
  const { state } = settings.current;
  switch (state.kind) {
    case 'memory': {
      const onEvicted = (letter: DeadLetter) => events.outbox.deadLetterEvicted(letter);
      const deadlines = new MemoryDeadlines();
      const onCaptured = (captured: readonly CapturedExpiration[]) => deadlines.consume(captured);
      const outbox = new MemoryOutbox(clock, onEvicted, MEMORY_OUTBOX_LIMITS, onCaptured);
      const maintenance = new MemoryMaintenance({
        outbox,
        has: (endpoint) => settings.current.endpoints.has(endpoint),
        clock,
        events: events.outbox,
      });
      return {
        outbox,
        values: new MemoryValues(),
        lease: ALWAYS_HELD,
        server: ANY_SERVER,
        openDeadlines: () => deadlines,
        checks: () => [],
        start: () => {
          maintenance.start();
          lifecycle.onStop('maintenance', () => maintenance.stop());
        },
        reconfigure: () => undefined,
        usable: async () => undefined,
      };
    }
    case 'redis':
      return createRedisStores(parts, state);
  }
}

function createRedisStores(
  { settings, events, lifecycle, locators, clock, chance, stop, graceOver }: StoresParts,
  redisSettings: Extract<StateSettings, { kind: 'redis' }>,
): Stores {
  const { redis } = settings.current;
  const endpoints = () => settings.current.endpoints;
  const endpointNames = () => [...endpoints().keys()];
  const limits = () => limitsOf(settings.current.state);
  const locator = stateLocator(locators, redisSettings);
  const state = new RedisState({
    ...redisSettings,
    locator,
    databases: redis.databases,
    endpoints: endpointNames,
    clock,
    events: events.state,
  });
  const scripts = defineOutboxScripts(state.redis);
  const replica = chance.token();
  const { prefix } = redisSettings;
  const lease = new RedisLease({
    state,
    replica,
    configuration: settings.derive(configurationOf),
    clock,
    onLook: (...found) => events.watch.configurations(prefix, ...found),
  });
  const server = new WatchedServer({
    state,
    lease,
    keys: redis,
    stateLocator: locator,
    stateDatabase: redisSettings.database,
    events: events.watch,
    clock,
    chance,
  });
  const waits = new Waits({ state, scripts, clock, endpoints, events: events.outbox });
  const outbox = new RedisOutbox({
    state,
    scripts,
    replica,
    instance: `${hostname()}:${process.pid}`,
    lease,
    clock,
    correct: (timeMs) => waits.correct(timeMs),
    deadLettersMax: () => limits().countMax,
    onDeadLettersEvicted: (...what) => events.outbox.deadLettersEvicted(...what),
    onPaused: (...what) => events.outbox.paused(...what),
  });
  const quarantine = new QuarantineWatch({ state, clock, events: events.state });
  const presence = new Presence({
    state,
    scripts,
    replica,
    endpoints: endpointNames,
    clock,
    onReclaimed: (...what) => events.outbox.reclaimed(...what),
  });
  const maintenance = new Maintenance({
    state,
    scripts,
    outbox,
    clock,
    limits,
    isClockSteady: () => waits.isClockSteady(),
    events: events.outbox,
  });
  lifecycle.onStop('state', () => state.close());
  void untilAborted(stop).then(() => state.closeIfSilent());
  void untilAborted(graceOver).then(() => state.closeIfSilent());
  return {
    outbox,
    values: new RedisValues(state, lease),
    lease,
    server,
    openDeadlines: (onInvalid) => new RedisDeadlines(state, lease, redis.databases, onInvalid),
    checks: () => [
      { name: 'state', problem: state.problem },
      { name: 'server', problem: server.problem },
      configurationCheck(lease.standing, prefix),
      quarantineCheck(quarantine.entries),
    ],
    start: () => {
      const parts = { presence, waits, maintenance, quarantine, lease };
      for (const [name, part] of Object.entries(parts)) {
        part.start();
        lifecycle.onStop(name, () => part.stop());
      }
    },
    reconfigure: () => {
      lease.reconfigure();
      presence.announce();
    },
    usable: async () => {
      await Promise.all([state.ready(stop), Promise.race([server.first(), untilAborted(stop)])]);
    },
  };
}

/** A reload cannot change the kind of the state. */
function limitsOf(state: StateSettings) {
  if (state.kind === 'memory') throw new Error('expected a state in Redis');
  const { deadLetters, unknownEndpointGraceMs } = state;
  return { ...deadLetters, graceMs: unknownEndpointGraceMs };
}

function quarantineCheck(entries: number): Check {
  const check = { name: 'quarantine', problem: null };
  if (entries === 0) return check;
  return { ...check, note: `${pluralize(entries, 'record')} (see expiry-relay quarantine list)` };
}

/** Only replicas of the configuration that leads are ready: the others capture nothing. */
function configurationCheck(standing: Standing | null, prefix: string): Check {
  const name = 'configuration';
  switch (standing?.kind) {
    case undefined:
      return { name, problem: 'not compared with other replicas yet' };
    case 'current':
      return { name, problem: null };
    case 'leading':
      return {
        name,
        problem: null,
        note: `replicas with an older configuration share ${prefixText(prefix)}`,
      };
    case 'superseded':
      return { name, problem: `superseded by a newer configuration with ${prefixText(prefix)}` };
    case 'succeeding':
      return {
        name,
        problem: `taking over from an older configuration with ${prefixText(prefix)}`,
      };
  }
}

const prefixText = (prefix: string) => `state.prefix "${prefix}"`;
