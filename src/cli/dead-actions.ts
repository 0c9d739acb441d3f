/** Replays and deletes dead letters while relays run. */
import { readRate } from '../config/quantities.js';
import { type Clock, systemClock } from '../lib/clock.js';
import { escapeUnprintable, printable, printableJson } from '../lib/printable.js';
import type { RateLimit } from '../model/endpoint.js';
import { UsageError } from '../model/errors.js';
import type { DeadLetter } from '../model/vocabulary.js';
import type { RedisDeadLetters } from '../outbox/redis-dead-letters.js';
import type { CliContext, CommandAction, ExitCode, FileOption } from './context.js';
import {
  type DeadFilter,
  type FilterOptions,
  idsOf,
  isEverything,
  matches,
  noMatchText,
  readFilter,
} from './dead-filters.js';
import { Tally } from './dead-text.js';
import { endpointsOf, type OpenDeadLetters, withDeadLetters } from './open-dead-letters.js';
import { interruptedExitCode } from './printer.js';
import { Progress } from './progress.js';
import { fitted } from './screen.js';

export interface ActOnDeadOptions extends FileOption, FilterOptions {
  readonly ids: readonly string[];
  readonly all?: boolean;
  readonly dryRun?: boolean;
  /** For instance `10/s`. */
  readonly rate?: string;
  readonly json?: boolean;
}

/** Makes letters pending again with no attempts counted; running relays pick them up. */
export const replayDead: CommandAction<ActOnDeadOptions> = (context, options) =>
  actOn(context, options, {
    done: 'replayed',
    act: (letters, { delivery }) => letters.replay(delivery.endpoint, delivery.id),
    needsRelay: true,
  });

/** Deletes letters permanently. */
export const dropDead: CommandAction<ActOnDeadOptions> = (context, options) =>
  actOn(context, options, {
    done: 'dropped',
    act: (letters, { delivery }) => letters.drop(delivery.endpoint, delivery.id),
    needsRelay: false,
  });

interface Verb {
  readonly done: 'replayed' | 'dropped';
  /** Runs one atomic step; false when the letter no longer exists. */
  readonly act: (letters: RedisDeadLetters, letter: DeadLetter) => Promise<boolean>;
  /** Whether the action only helps when a running relay has the letter's endpoint. */
  readonly needsRelay: boolean;
}

/** The result of an action on letters. */
interface Result {
  readonly done: Tally;
  readonly refused: Tally;
  /** Endpoints of refused letters that have returned 410, with the replicas that disabled them. */
  readonly gone: Map<string, readonly string[]>;
  /** The ids given as arguments that were not found. */
  readonly missing: Set<string>;
}

async function actOn(
  context: CliContext,
  options: ActOnDeadOptions,
  verb: Verb,
): Promise<ExitCode> {
  const filter = readFilter(options, options.ids);
  const pace = new Pace(readPace(options.rate), systemClock);
  if (isEverything(filter) && !options.all) {
    throw new UsageError(`specify ids, a filter or --all; nothing was ${verb.done}`);
  }
  return withDeadLetters(context, options, async (opened) => {
    const result: Result = {
      done: new Tally(),
      refused: new Tally(),
      gone: new Map(),
      missing: new Set(filter.ids),
    };
    const { done, refused, missing } = result;
    const step = options.dryRun ? { ...verb, act: async () => true } : verb;
    try {
      await actOnPages(context, opened, filter, { verb: step, pace }, result);
    } finally {
      // Completed work is reported even after an error.
      if (options.json) context.stdout.write(jsonOf(result, verb, options.dryRun ?? false));
      else reportDone(context, result, verb, options.dryRun ?? false);
      reportRefused(context, result, verb);
    }
    if (context.stop.aborted) return interruptedExitCode(context);
    for (const id of missing) {
      const what = isEverything({ ...filter, ids: null }) ? '' : ' that matches the filter';
      context.stderr.write(`expiry-relay: no such dead letter${what}: ${printable(id)}\n`);
    }
    if (done.total + refused.total + missing.size === 0 && !options.json) {
      const { routes } = opened.settings;
      context.stdout.write(`${noMatchText(filter, routes)}; nothing ${verb.done}\n`);
    }
    if (verb.needsRelay && !options.dryRun) await warnOfNoRelay(context, opened, done);
    return refused.total + missing.size === 0 ? 0 : 1;
  });
}

/** Works page by page, which bounds the letters in memory and the concurrent scripts. */
async function actOnPages(
  context: CliContext,
  opened: OpenDeadLetters,
  filter: DeadFilter,
  { verb, pace }: { readonly verb: Verb; readonly pace: Pace },
  result: Result,
): Promise<void> {
  const { letters } = opened;
  const { stop } = context;
  const endpoints = await endpointsOf(filter, opened);
  const ids = idsOf(filter);
  const nowMs = await letters.nowMs();
  const counts = ids === null ? [...(await letters.counts(endpoints)).values()] : [ids.length];
  const total = counts.reduce((sum, count) => sum + count, 0);
  const progress = new Progress(context, total, 'processed');
  try {
    for await (const page of letters.pages(endpoints, ids)) {
      if (stop.aborted) return;
      const chosen = page.filter((letter) => matches(filter, letter, nowMs));
      progress.advance(page.length - chosen.length);
      const running = verb.needsRelay ? await letters.runningEndpoints() : null;
      const gone = verb.needsRelay ? await letters.goneEndpoints() : new Map();
      const steps = chosen.map(async (letter) => {
        const { endpoint, id } = letter.delivery;
        // Without running relays, a replayed letter waits until one starts.
        const isUnknown = running !== null && running.size > 0 && !running.has(endpoint);
        const instances = gone.get(endpoint);
        if (instances !== undefined) result.gone.set(endpoint, instances);
        const isRefused = isUnknown || instances !== undefined;
        if (!isRefused) {
          await pace.next(stop);
          if (stop.aborted) return;
          if (!(await verb.act(letters, letter))) return;
        }
        (isRefused ? result.refused : result.done).add(letter);
        result.missing.delete(id);
        progress.advance(1);
      });
      // All steps are awaited so that successes are counted even if one step failed.
      const failed = (await Promise.allSettled(steps)).find(({ status }) => status === 'rejected');
      if (failed?.status === 'rejected') throw failed.reason;
    }
  } finally {
    progress.end();
  }
}

/** Spreads steps evenly over time. */
class Pace {
  readonly #intervalMs: number;
  readonly #clock: Clock;
  #nextAtMs = Number.NEGATIVE_INFINITY;
  #lastTurn: Promise<void> = Promise.resolve();

  /** `rate`: null for no limit. */
  constructor(rate: RateLimit | null, clock: Clock) {
    this.#intervalMs = rate === null ? 0 : rate.perMs / rate.count;
    this.#clock = clock;
  }

  /** Resolves when the next step may begin, or on an abort. Steps wait one after another, with one timer. */
  async next(stop: AbortSignal): Promise<void> {
    if (this.#intervalMs === 0) return;
    this.#lastTurn = this.#lastTurn.then(() => this.#turn(stop));
    await this.#lastTurn;
  }

  async #turn(stop: AbortSignal): Promise<void> {
    const nowMs = this.#clock.monotonicMs();
    const atMs = Math.max(nowMs, this.#nextAtMs);
    this.#nextAtMs = atMs + this.#intervalMs;
    if (atMs > nowMs) await this.#clock.sleep(atMs - nowMs, stop);
  }
}

/** Faster than Redis replays letters. */
const RATE_RANGE = { min: 1, max: 1_000_000 };

function readPace(text: string | undefined): RateLimit | null {
  if (text === undefined) return null;
  const reading = readRate(text, RATE_RANGE);
  if (reading.ok) return reading.value;
  throw new UsageError(`--rate: expected a rate such as 10/s or 600/m, found "${printable(text)}"`);
}

function reportDone({ stdout }: CliContext, { done }: Result, verb: Verb, isDryRun: boolean): void {
  const what = isDryRun ? `would be ${verb.done}` : verb.done;
  for (const [endpoint, count] of done.byEndpoint) {
    stdout.write(`${escapeUnprintable(endpoint)}: ${count} ${what}\n`);
  }
}

/** Programs depend on these names. */
function jsonOf(result: Result, { done: verb }: Verb, isDryRun: boolean): string {
  const refused = result.refused.byEndpoint.map(([endpoint, count]) => [
    endpoint,
    { count, reason: refusalReason(result.gone.get(endpoint)) },
  ]);
  return `${printableJson({
    dry_run: isDryRun,
    [verb]: Object.fromEntries(result.done.byEndpoint),
    refused: Object.fromEntries(refused),
    missing: [...result.missing],
  })}\n`;
}

/** `instances`: the replicas that disabled the endpoint; undefined when no running relay has it. */
function refusalReason(instances: readonly string[] | undefined): string {
  if (instances === undefined) {
    return (
      'no running relay has this endpoint in its configuration, and the webhooks would be ' +
      'dead-lettered again. Start a relay that has it, then replay'
    );
  }
  const names = instances.map((one) => escapeUnprintable(one)).join(', ');
  return `the endpoint responded 410 and is disabled in ${names}. Send SIGHUP to ${names}, then replay`;
}

function reportRefused({ stderr }: CliContext, { refused, gone }: Result, { done }: Verb): void {
  for (const [endpoint, count] of refused.byEndpoint) {
    const reason = refusalReason(gone.get(endpoint));
    const text = `expiry-relay: ${escapeUnprintable(endpoint)}: ${count} not ${done}: ${reason}\n`;
    stderr.write(fitted(stderr, text));
  }
}

async function warnOfNoRelay(
  { stderr }: CliContext,
  { letters }: OpenDeadLetters,
  replayed: Tally,
): Promise<void> {
  if (replayed.total === 0 || (await letters.runningEndpoints()).size > 0) return;
  stderr.write('expiry-relay: no relay is running; replayed webhooks wait until one starts\n');
}
