/** Pauses and resumes endpoints while relays run. */
import { hostname, userInfo } from 'node:os';
import { escapeUnprintable, printableJson } from '../lib/printable.js';
import { UsageError } from '../model/errors.js';
import { PAUSE_REASON_CHARS_MAX, type Pause } from '../outbox/outbox.js';
import { readDepth } from '../outbox/redis-depth.js';
import { RedisPauses } from '../outbox/redis-pauses.js';
import { defineOutboxScripts, type OutboxScripts } from '../outbox/scripts/scripts.js';
import { storedEndpoints } from '../outbox/stored-letters.js';
import type { RedisState } from '../state/redis-state.js';
import type { CliContext, CommandAction, ExitCode, FileOption } from './context.js';
import { checkEndpoint } from './dead-filters.js';
import { withState } from './open-dead-letters.js';
import { Printer } from './printer.js';

export interface ResumeOptions extends FileOption {
  readonly endpoint: string;
  readonly json?: boolean;
}

export interface PauseOptions extends ResumeOptions {
  readonly reason?: string;
}

/** Pauses an endpoint in all replicas; tells who has paused it if it was paused before. */
export const pause: CommandAction<PauseOptions> = async (context, options) => {
  const { endpoint, reason = null } = options;
  if (reason !== null && reason.length > PAUSE_REASON_CHARS_MAX) {
    throw new UsageError(
      `--reason: expected at most ${PAUSE_REASON_CHARS_MAX} characters, found ${reason.length}`,
    );
  }
  return withPauses(context, options, async ({ state, scripts, pauses }) => {
    const isNew = await pauses.pause(endpoint, { by: operator(), reason });
    const name = escapeUnprintable(endpoint);
    const again = `To resume it, run: expiry-relay resume ${name}`;
    const { paused } = await readDepth(state, scripts, endpoint);
    const text = isNew
      ? `paused ${name}. Its webhooks wait. ${again}`
      : `${name} was already paused${paused === null ? '' : ` ${pauseText(paused)}`}. ${again}`;
    const row = { endpoint, changed: isNew, paused: pauseRow(paused) };
    await new Printer(context).print(options.json ? `${printableJson(row)}\n` : `${text}\n`);
    return 0;
  });
};

/** Resumes an endpoint in all replicas. */
export const resume: CommandAction<ResumeOptions> = async (context, options) => {
  const { endpoint } = options;
  return withPauses(context, options, async ({ pauses }) => {
    const name = escapeUnprintable(endpoint);
    const ended = await pauses.resume(endpoint);
    const text = ended ? `resumed ${name}` : `${name} was not paused`;
    const row = { endpoint, changed: ended, paused: null };
    await new Printer(context).print(options.json ? `${printableJson(row)}\n` : `${text}\n`);
    return 0;
  });
};

/** `since 2026-11-29T10:00:00.000Z by alice@shop-1: deploying`. */
export function pauseText({ sinceMs, by, reason }: Pause): string {
  const why = reason === null ? '' : `: ${reason}`;
  return escapeUnprintable(`since ${new Date(sinceMs).toISOString()} by ${by || 'unknown'}${why}`);
}

/** For `--json`. */
export function pauseRow(paused: Pause | null) {
  if (paused === null) return null;
  const { sinceMs, by, reason } = paused;
  return { since: new Date(sinceMs).toISOString(), by, reason };
}

interface OpenPauses {
  readonly state: RedisState;
  readonly scripts: OutboxScripts;
  readonly pauses: RedisPauses;
}

/** Rejects with a UsageError if neither the configuration nor the state has the endpoint. */
function withPauses(
  context: CliContext,
  options: ResumeOptions,
  use: (opened: OpenPauses) => Promise<ExitCode>,
): Promise<ExitCode> {
  return withState(context, options, async (state, { endpoints }) => {
    const known = new Set([...(await storedEndpoints(state)), ...endpoints.keys()]);
    checkEndpoint(options, known, 'endpoint');
    const scripts = defineOutboxScripts(state.redis);
    return use({ state, scripts, pauses: new RedisPauses(state, scripts) });
  });
}

/** Who runs the command, such as `alice@shop-1`. */
function operator(): string {
  return `${userName()}@${hostname()}`;
}

function userName(): string {
  try {
    return userInfo().username;
  } catch {
    // A container may run as a user without a name.
    return `uid ${process.getuid?.() ?? 'unknown'}`;
  }
}
