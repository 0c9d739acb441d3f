/** The dead letters in the state Redis, for one command. */
import { systemClock, untilAborted } from '../clock.js';
import { loadSettings } from '../config/load.js';
import { StateInMemoryError, StateUnavailableError } from '../errors.js';
import { RedisDeadLetters } from '../outbox/redis-dead-letters.js';
import { defineOutboxScripts } from '../outbox/scripts/scripts.js';
import { RedisState, type StateEvents } from '../state/redis-state.js';
import type { Settings } from '../vocabulary.js';
import type { CliContext, FileOption } from './context.js';

/** Whoever waits sits at a terminal; a Redis that restarts is back by then. */
const USABLE_WITHIN_MS = 4_000;

/** A command says what is wrong by its own error. */
const SILENT: StateEvents = {
  internalError: () => undefined,
  failed: () => undefined,
  troubleBegan: () => undefined,
  troubleEnded: () => undefined,
  credentialsUnusable: () => undefined,
  server: () => undefined,
  dataLost: () => undefined,
};

export interface OpenDeadLetters {
  readonly letters: RedisDeadLetters;
  /** The file, whose endpoints need not be those that the state knows. */
  readonly settings: Settings;
  readonly unknownEndpointGraceMs: number;
}

/**
 * Opens them, hands them to `use`, and closes them. Rejects with a RelayError that says what is
 * wrong when they cannot be read within some seconds.
 */
export async function withDeadLetters<Result>(
  { env, cwd, stop }: CliContext,
  { config }: FileOption,
  use: (opened: OpenDeadLetters) => Promise<Result>,
): Promise<Result> {
  const { settings } = await loadSettings({ file: config, env, cwd });
  if (settings.state.kind === 'memory') {
    throw new StateInMemoryError(
      "with state.kind: memory dead letters are in the relay's own memory and end with it: no " +
        'command can reach them. They are kept, to be shown and replayed, by state.kind: redis',
    );
  }
  const { unknownEndpointGraceMs } = settings.state;
  const state = new RedisState({
    ...settings.state,
    databases: settings.redis.databases,
    endpoints: [...settings.endpoints.keys()],
    clock: systemClock,
    events: SILENT,
  });
  try {
    await usableSoon(state, stop);
    const letters = new RedisDeadLetters(state, defineOutboxScripts(state.redis));
    return await use({ letters, settings, unknownEndpointGraceMs });
  } finally {
    state.close();
  }
}

async function usableSoon(state: RedisState, stop: AbortSignal): Promise<void> {
  const patience = new AbortController();
  const cancel = systemClock.after(USABLE_WITHIN_MS, () => patience.abort());
  void untilAborted(stop).then(() => patience.abort());
  try {
    await state.usable(patience.signal);
  } finally {
    cancel();
  }
  const { problem } = state;
  if (problem !== null) throw new StateUnavailableError(problem);
}
