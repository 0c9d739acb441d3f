/** A state Redis as in the relay, on a separate server. */
import { type Clock, systemClock } from '../../src/lib/clock.js';
import { RedisOutbox } from '../../src/outbox/redis-outbox.js';
import { defineOutboxScripts, type OutboxScripts } from '../../src/outbox/scripts/scripts.js';
import { fixedLocator } from '../../src/redis/locator.js';
import { ALWAYS_HELD, type Lease } from '../../src/state/lease.js';
import { RedisState, type StateEvents } from '../../src/state/redis-state.js';
import { takeKeysOf } from './state-server.js';

export const SILENT_STATE_EVENTS: StateEvents = {
  internalError: (_loop, error) => {
    throw error;
  },
  failed: () => undefined,
  credentialsUnusable: () => undefined,
  unavailable: () => undefined,
  availableAgain: () => undefined,
  server: () => undefined,
  dataLost: () => undefined,
};

export interface OpenedState extends AsyncDisposable {
  readonly state: RedisState;
  readonly scripts: OutboxScripts;
  /** An outbox of one replica. */
  outbox(given?: OutboxOptions): RedisOutbox;
}

export interface OutboxOptions {
  readonly replica?: string;
  readonly lease?: Pick<Lease, 'token' | 'delivers'>;
  readonly clock?: Clock;
  readonly corrected?: (timeMs: number) => number;
  readonly deadLettersMax?: number;
  readonly onDeadLettersEvicted?: (endpoint: string, count: number) => void;
}

/** Opens it and waits until it can be used. */
export async function openState(
  port: number,
  prefix: string,
  events: StateEvents = SILENT_STATE_EVENTS,
): Promise<OpenedState> {
  await takeKeysOf(port, prefix);
  const opened = startState(port, prefix, events);
  await opened.state.ready(new AbortController().signal);
  return opened;
}

/** Opens it and does not wait. */
export function startState(
  port: number,
  prefix: string,
  events: StateEvents = SILENT_STATE_EVENTS,
  database = 0,
): OpenedState {
  const address = {
    host: '127.0.0.1',
    port,
    path: null,
    sentinel: null,
    cluster: null,
    tls: null,
    username: null,
    password: null,
    files: null,
  };
  const state = new RedisState({
    locator: fixedLocator(address),
    database,
    section: 'state',
    prefix,
    databases: [0],
    endpoints: () => ['shop'],
    clock: systemClock,
    events,
  });
  const scripts = defineOutboxScripts(state.redis);
  return {
    state,
    scripts,
    outbox: ({
      replica = 'one',
      lease = ALWAYS_HELD,
      clock = systemClock,
      corrected = (timeMs: number) => timeMs,
      deadLettersMax = 10_000,
      onDeadLettersEvicted = () => undefined,
    } = {}) => {
      return new RedisOutbox({
        state,
        scripts,
        replica,
        instance: `${replica}.example:1`,
        lease,
        clock,
        correct: corrected,
        deadLettersMax: () => deadLettersMax,
        onDeadLettersEvicted,
        onPaused: () => undefined,
      });
    },
    [Symbol.asyncDispose]: async () => state.close(),
  };
}
