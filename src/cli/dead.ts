/** Lists, shows, replays and deletes dead letters while relays run. */
import { formatDuration } from '../config/quantities.js';
import { pluralize } from '../lib/pluralize.js';
import { escapeUnprintable, printable } from '../lib/printable.js';
import { UsageError } from '../model/errors.js';
import type { DeadLetter, Settings } from '../model/vocabulary.js';
import { NEWEST_MAX } from '../outbox/dead-places.js';
import type { RedisDeadLetters } from '../outbox/redis-dead-letters.js';
import type { CliContext, CommandAction, ExitCode, FileOption } from './context.js';
import {
  checkEndpoint,
  type DeadFilter,
  type FilterOptions,
  isEverything,
  matches,
  noMatchText,
  readFilter,
} from './dead-filters.js';
import {
  details,
  jsonLines,
  jsonOf,
  type ListedLetter,
  Table,
  Tally,
  toListedLetter,
} from './dead-text.js';
import { type OpenDeadLetters, withDeadLetters } from './open-dead-letters.js';
import { Printer } from './printer.js';

export interface ListDeadOptions extends FileOption, FilterOptions {
  /** 0: no limit. */
  readonly limit: number;
  readonly json?: boolean;
}

export interface ShowDeadOptions extends FileOption {
  readonly id: string;
  readonly json?: boolean;
  /** Print only the bytes of the body. */
  readonly body?: boolean;
}

export interface ActOnDeadOptions extends FileOption, FilterOptions {
  readonly ids: readonly string[];
  readonly all?: boolean;
}

/** Lists the matching letters, the newest last, then the pending deliveries of unknown endpoints. */
export const listDead: CommandAction<ListDeadOptions> = async (context, options) => {
  const filter = readFilter(options);
  return withDeadLetters(context, options, async (opened) => {
    const { letters, settings } = opened;
    const endpoints = await endpointsOf(filter, opened);
    const nowMs = await letters.nowMs();
    const printer = new Printer(context);
    const table = new Table(nowMs);
    const show = (rows: readonly ListedLetter[]) =>
      rows.length === 0 || printer.print(options.json ? jsonLines(rows) : table.lines(rows));
    const limit = options.limit === 0 ? Number.POSITIVE_INFINITY : options.limit;
    const tally = new Tally();
    /** With a limit, letters are printed at the end; without one, immediately. */
    let held: ListedLetter[] = [];
    const isByEndpoint = isEverything({ ...filter, endpoint: null });
    const isNewest = isByEndpoint && limit <= NEWEST_MAX;
    const pages = isNewest
      ? [await letters.newest(endpoints, limit)]
      : letters.pages(endpoints, idsOf(filter));
    for await (const page of pages) {
      if (context.stop.aborted) return interruptedExitCode(context);
      const found = page.filter((letter) => matches(filter, letter, nowMs));
      for (const letter of found) tally.add(letter);
      held = [...held, ...found.map(toListedLetter)].slice(-limit);
      if (options.limit > 0) continue;
      if (!(await show(held))) return interruptedExitCode(context);
      held = [];
    }
    const shown = options.limit === 0 ? tally.total : held.length;
    if (isNewest) tally.addUnread(await letters.counts(endpoints));
    if (!(await show(held))) return interruptedExitCode(context);
    const closing = `${closingLine(tally, tally.total - shown, filter, settings.routes)}\n`;
    if (!options.json) await printer.print(closing);
    else if (shown < tally.total) context.stderr.write(closing);
    await warnOfUnknown(context, opened, filter);
    return 0;
  });
};

/** Prints all fields of one letter. */
export const showDead: CommandAction<ShowDeadOptions> = async (context, options) => {
  const { id, json, body } = options;
  if (json && body) throw new UsageError('expected --json or --body, found both');
  return withDeadLetters(context, options, async (opened) => {
    const { letters } = opened;
    const letter = await find(id, opened);
    if (letter === null) {
      context.stderr.write(`expiry-relay: no such dead letter: ${printable(id)}\n`);
      return 1;
    }
    const forPeople = async () => details(letter, await letters.nowMs());
    const text = body ? letter.delivery.body : json ? jsonOf(letter) : await forPeople();
    return (await new Printer(context).print(text)) ? 0 : interruptedExitCode(context);
  });
};

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
    try {
      await actOnPages(context, opened, filter, verb, result);
    } finally {
      // Completed work is reported even after an error.
      for (const [endpoint, count] of done.byEndpoint) {
        context.stdout.write(`${escapeUnprintable(endpoint)}: ${count} ${verb.done}\n`);
      }
      reportRefused(context, result, verb);
    }
    if (context.stop.aborted) return interruptedExitCode(context);
    for (const id of missing) {
      const what = isEverything({ ...filter, ids: null }) ? '' : ', or none that the filters match';
      context.stderr.write(`expiry-relay: no such dead letter${what}: ${printable(id)}\n`);
    }
    if (done.total + refused.total + missing.size === 0) {
      const { routes } = opened.settings;
      context.stdout.write(`${noMatchText(filter, routes)}: nothing ${verb.done}\n`);
    }
    if (verb.needsRelay) await warnOfNoRelay(context, opened, done);
    return refused.total + missing.size === 0 ? 0 : 1;
  });
}

/** Works page by page, which bounds the letters in memory and the concurrent scripts. */
async function actOnPages(
  { stop }: CliContext,
  opened: OpenDeadLetters,
  filter: DeadFilter,
  verb: Verb,
  { done, refused, gone, missing }: Result,
): Promise<void> {
  const { letters } = opened;
  const endpoints = await endpointsOf(filter, opened);
  const nowMs = await letters.nowMs();
  for await (const page of letters.pages(endpoints, idsOf(filter))) {
    if (stop.aborted) return;
    const running = verb.needsRelay ? await letters.runningEndpoints() : null;
    const goneNow = verb.needsRelay ? await letters.goneEndpoints() : null;
    const steps = page
      .filter((letter) => matches(filter, letter, nowMs))
      .map(async (letter) => {
        const { id, endpoint } = letter.delivery;
        // Without running relays, a replayed letter waits until one starts.
        const isUnknown = running !== null && running.size > 0 && !running.has(endpoint);
        const instances = goneNow?.get(endpoint);
        if (instances !== undefined) gone.set(endpoint, instances);
        const isRefused = isUnknown || instances !== undefined;
        if (!isRefused && !(await verb.act(letters, letter))) return;
        (isRefused ? refused : done).add(letter);
        missing.delete(id);
      });
    // All steps are awaited so that successes are counted even if one step failed.
    const failed = (await Promise.allSettled(steps)).find(({ status }) => status === 'rejected');
    if (failed?.status === 'rejected') throw failed.reason;
  }
}

function reportRefused({ stderr }: CliContext, { refused, gone }: Result, { done }: Verb): void {
  for (const [endpoint, count] of refused.byEndpoint) {
    const instances = gone.get(endpoint);
    const why =
      instances === undefined
        ? 'no running relay has this endpoint in its file, so that it would become a dead letter ' +
          'again; start one that has it, then replay'
        : 'the endpoint answered 410, and a replica that has seen this sends it nothing until a restart; ' +
          `restart ${instances.map((one) => escapeUnprintable(one)).join(', ')}, then replay`;
    stderr.write(`expiry-relay: ${escapeUnprintable(endpoint)}: ${count} not ${done}: ${why}\n`);
  }
}

async function warnOfNoRelay(
  { stderr }: CliContext,
  { letters }: OpenDeadLetters,
  replayed: Tally,
): Promise<void> {
  if (replayed.total === 0 || (await letters.runningEndpoints()).size > 0) return;
  stderr.write('expiry-relay: no relay is running: what was replayed waits for one\n');
}

/** Lists pending deliveries of endpoints that no running relay has; the configuration may lack them too. */
async function warnOfUnknown(
  { stderr }: CliContext,
  { letters, unknownEndpointGraceMs }: OpenDeadLetters,
  filter: DeadFilter,
): Promise<void> {
  const running = await letters.runningEndpoints();
  for (const endpoint of await letters.endpoints()) {
    if (running.has(endpoint) || (filter.endpoint ?? endpoint) !== endpoint) continue;
    const pending = await letters.pending(endpoint);
    if (pending === 0) continue;
    const grace = formatDuration(unknownEndpointGraceMs);
    stderr.write(
      `expiry-relay: no running relay has the endpoint "${escapeUnprintable(endpoint)}": ` +
        `${pluralize(pending, 'webhook')} waiting for it; dead-lettered once no running relay ` +
        `has had it for ${grace} (state.unknown_endpoint_grace)\n`,
    );
  }
}

/** The endpoints of the state and of the configuration, or the selected one. */
async function endpointsOf(
  filter: DeadFilter,
  { letters, settings }: OpenDeadLetters,
): Promise<readonly string[]> {
  const known = new Set([...(await letters.endpoints()), ...settings.endpoints.keys()]);
  checkEndpoint(filter, known);
  return filter.endpoint === null ? [...known] : [filter.endpoint];
}

function idsOf({ ids }: DeadFilter): readonly string[] | null {
  return ids === null ? null : [...ids];
}

async function find(id: string, opened: OpenDeadLetters): Promise<DeadLetter | null> {
  for (const endpoint of await endpointsOf(readFilter({}), opened)) {
    const letter = await opened.letters.find(endpoint, id);
    if (letter !== null) return letter;
  }
  return null;
}

function closingLine(
  tally: Tally,
  hidden: number,
  filter: DeadFilter,
  routes: Settings['routes'],
): string {
  if (tally.total === 0) {
    return isEverything(filter) ? 'no dead letters' : noMatchText(filter, routes);
  }
  if (hidden === 0) return tally.text();
  return `${tally.text()}; ${hidden} older not shown (--limit 0 shows all)`;
}

/** Exit code when output ended early: success if the reader closed the pipe, failure after a signal. */
function interruptedExitCode({ stop, stderr }: CliContext): ExitCode {
  if (!stop.aborted) return 0;
  stderr.write(`expiry-relay: ended by ${stop.reason} before all was done\n`);
  return 1;
}
