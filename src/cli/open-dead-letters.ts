/** Opens the state in Redis and its dead letters for one command. */
import { loadSettings } from '../config/load.js';
import { systemClock, untilAborted } from '../lib/clock.js';
import { pluralize } from '../lib/pluralize.js';
import { escapeUnprintable } from '../lib/printable.js';
import { StateInMemoryError, StateUnavailableError } from '../model/errors.js';
import type { Settings, StateSettings } from '../model/vocabulary.js';
import { RedisDeadLetters } from '../outbox/redis-dead-letters.js';
import { defineOutboxScripts } from '../outbox/scripts/scripts.js';
import { Locators, SILENT_LOCATORS } from '../redis/locators.js';
import { RedisState, type StateEvents } from '../state/redis-state.js';
import { stateLocator } from '../state/state-locator.js';
import type { CliContext, FileOption } from './context.js';
import { checkEndpoint, type DeadFilter } from './dead-filters.js';

/** An operator waits at the terminal; a restarting Redis is back within this time. */
const USABLE_WITHIN_MS = 4_000;

/** Commands report problems through their own errors. */
const SILENT: StateEvents = {
  internalError: () => undefined,
  failed: () => undefined,
  unavailable: () => undefined,
  availableAgain: () => undefined,
  credentialsUnusable: () => undefined,
  server: () => undefined,
  dataLost: () => undefined,
};

export interface OpenDeadLetters {
  readonly letters: RedisDeadLetters;
  /** The configuration; its endpoints may differ from those in the state. */
  readonly settings: Settings;
  readonly unknownEndpointGraceMs: number;
}

/**
 * Opens the dead letters, passes them to `use`, and closes them. Rejects with a RelayError that explains the
 * problem when they are unreadable for some seconds.
 */
export function withDeadLetters<Result>(
  context: CliContext,
  options: FileOption,
  use: (opened: OpenDeadLetters) => Promise<Result>,
): Promise<Result> {
  return withState(context, options, async (state, settings, { unknownEndpointGraceMs }) => {
    const letters = new RedisDeadLetters(state, defineOutboxScripts(state.redis));
    const result = await use({ letters, settings, unknownEndpointGraceMs });
    for (const [endpoint, count] of await letters.countUnordered()) {
      context.stderr.write(
        `expiry-relay: ${pluralize(count, 'dead letter')} of "${escapeUnprintable(endpoint)}" not listed: the index ` +
          'lacks them. A running relay restores up to 500 every 10 s\n',
      );
    }
    return result;
  });
}

/** Like `withDeadLetters`, for the whole state. Reports on standard error when entries were quarantined. */
export async function withState<Result>(
  { env, cwd, stderr, stop }: CliContext,
  { config }: FileOption,
  use: (
    state: RedisState,
    settings: Settings,
    stateSettings: Extract<StateSettings, { kind: 'redis' }>,
  ) => Promise<Result>,
): Promise<Result> {
  const { settings } = await loadSettings({ file: config, env, cwd });
  if (settings.state.kind === 'memory') {
    throw new StateInMemoryError(
      'the state is in memory (state.kind: memory), where no command can reach it. To list and replay dead ' +
        'letters, and to pause endpoints, set state.kind: redis',
    );
  }
  const locators = new Locators(systemClock, SILENT_LOCATORS);
  const state = new RedisState({
    ...settings.state,
    locator: stateLocator(locators, settings.state),
    databases: settings.redis.databases,
    endpoints: () => [...settings.endpoints.keys()],
    clock: systemClock,
    events: SILENT,
  });
  try {
    await waitUntilUsable(state, stop);
    return await use(state, settings, settings.state);
  } finally {
    const { moved } = state.quarantine;
    if (moved > 0) {
      stderr.write(
        `expiry-relay: ${pluralize(moved, 'state entry', 'state entries')} that no relay has written moved to ` +
          'the quarantine; see expiry-relay quarantine list\n',
      );
    }
    state.close();
    locators.close();
  }
}

async function waitUntilUsable(state: RedisState, stop: AbortSignal): Promise<void> {
  const patience = new AbortController();
  let cancel: () => void = () => undefined;
  // Verifying a distant server may take long. The wait is extended: a silent connection ends by itself.
  const wait = () => {
    cancel = systemClock.after(USABLE_WITHIN_MS, () =>
      state.isVerifying ? wait() : patience.abort(),
    );
  };
  wait();
  void untilAborted(stop).then(() => patience.abort());
  try {
    await state.ready(patience.signal);
  } finally {
    cancel();
  }
  const { problem } = state;
  if (problem !== null) throw new StateUnavailableError(problem);
}

/** The endpoints of the state and of the configuration, or the selected one. */
export async function endpointsOf(
  filter: DeadFilter,
  { letters, settings }: OpenDeadLetters,
): Promise<readonly string[]> {
  const known = new Set([...(await letters.endpoints()), ...settings.endpoints.keys()]);
  checkEndpoint(filter, known);
  return filter.endpoint === null ? [...known] : [filter.endpoint];
}
