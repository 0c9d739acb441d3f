/** Dead letters, beside running relays: shown, made ready again, or forgotten. */
import { formatDuration } from '../config/quantities.js';
import { pluralize } from '../lib/pluralize.js';
import { printable, stillPrintable } from '../lib/printable.js';
import { UsageError } from '../model/errors.js';
import type { DeadLetter, Settings } from '../model/vocabulary.js';
import { NEWEST_MAX } from '../outbox/dead-places.js';
import type { RedisDeadLetters } from '../outbox/redis-dead-letters.js';
import type { CliContext, CommandAction, ExitCode, FileOption } from './context.js';
import {
  checkEndpoint,
  type DeadFilter,
  type FilterOptions,
  fits,
  isEverything,
  nothingFits,
  readFilter,
} from './dead-filters.js';
import {
  details,
  jsonLines,
  jsonOf,
  type ListedLetter,
  listed,
  Table,
  Tally,
} from './dead-text.js';
import { type OpenDeadLetters, withDeadLetters } from './open-dead-letters.js';
import { Printer } from './printer.js';

export interface ListDeadOptions extends FileOption, FilterOptions {
  /** 0: all. */
  readonly limit: number;
  readonly json?: boolean;
}

export interface ShowDeadOptions extends FileOption {
  readonly id: string;
  readonly json?: boolean;
  /** Its bytes alone. */
  readonly body?: boolean;
}

export interface ActOnDeadOptions extends FileOption, FilterOptions {
  readonly ids: readonly string[];
  readonly all?: boolean;
}

/** Those that fit, the newest last, and what waits to become more of them. */
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
    /** With a limit nothing is shown before the end is known; without, all of it at once. */
    let held: ListedLetter[] = [];
    const isByEndpoint = isEverything({ ...filter, endpoint: null });
    const isNewest = isByEndpoint && limit <= NEWEST_MAX;
    const pages = isNewest
      ? [await letters.newest(endpoints, limit)]
      : letters.pages(endpoints, idsOf(filter));
    for await (const page of pages) {
      if (context.stop.aborted) return cutShort(context);
      const found = page.filter((letter) => fits(filter, letter, nowMs));
      for (const letter of found) tally.add(letter);
      held = [...held, ...found.map(listed)].slice(-limit);
      if (options.limit > 0) continue;
      if (!(await show(held))) return cutShort(context);
      held = [];
    }
    const shown = options.limit === 0 ? tally.total : held.length;
    if (isNewest) tally.addUnread(await letters.counts(endpoints));
    if (!(await show(held))) return cutShort(context);
    const closing = `${closingLine(tally, tally.total - shown, filter, settings.routes)}\n`;
    if (!options.json) await printer.print(closing);
    else if (shown < tally.total) context.stderr.write(closing);
    await warnOfUnknown(context, opened, filter);
    return 0;
  });
};

/** Everything about one. */
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
    return (await new Printer(context).print(text)) ? 0 : cutShort(context);
  });
};

/** Makes them ready again, as if never attempted; the relays that run notice by themselves. */
export const replayDead: CommandAction<ActOnDeadOptions> = (context, options) =>
  actOn(context, options, {
    done: 'replayed',
    act: (letters, { delivery }) => letters.replay(delivery.endpoint, delivery.id),
    needsRelay: true,
  });

/** Forgets them for ever. */
export const dropDead: CommandAction<ActOnDeadOptions> = (context, options) =>
  actOn(context, options, {
    done: 'dropped',
    act: (letters, { delivery }) => letters.drop(delivery.endpoint, delivery.id),
    needsRelay: false,
  });

interface Verb {
  readonly done: 'replayed' | 'dropped';
  /** One atomic step; false when the letter is no longer there. */
  readonly act: (letters: RedisDeadLetters, letter: DeadLetter) => Promise<boolean>;
  /** Whether it is of use only while a relay has the letter's endpoint. */
  readonly needsRelay: boolean;
}

/** What came of a verb. */
interface Result {
  readonly done: Tally;
  readonly refused: Tally;
  /** Of the refused ones: endpoints that have answered 410, with the replicas that know. */
  readonly gone: Map<string, readonly string[]>;
  /** Those named ids that nothing was found for. */
  readonly missing: Set<string>;
}

async function actOn(
  context: CliContext,
  options: ActOnDeadOptions,
  verb: Verb,
): Promise<ExitCode> {
  const filter = readFilter(options, options.ids);
  if (isEverything(filter) && !options.all) {
    throw new UsageError(`expected ids, filters or --all; nothing was ${verb.done}`);
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
      // Also what was done before something went wrong.
      for (const [endpoint, count] of done.byEndpoint) {
        context.stdout.write(`${stillPrintable(endpoint)}: ${count} ${verb.done}\n`);
      }
      sayRefused(context, result, verb);
    }
    if (context.stop.aborted) return cutShort(context);
    for (const id of missing) {
      const what = isEverything({ ...filter, ids: null }) ? '' : ', or none that the filters match';
      context.stderr.write(`expiry-relay: no such dead letter${what}: ${printable(id)}\n`);
    }
    if (done.total + refused.total + missing.size === 0) {
      const { routes } = opened.settings;
      context.stdout.write(`${nothingFits(filter, routes)}: nothing ${verb.done}\n`);
    }
    if (verb.needsRelay) await warnOfNoRelay(context, opened, done);
    return refused.total + missing.size === 0 ? 0 : 1;
  });
}

/** A page at a time: so many letters are in memory, and so many scripts under way. */
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
      .filter((letter) => fits(filter, letter, nowMs))
      .map(async (letter) => {
        const { id, endpoint } = letter.delivery;
        // Without any relay it only waits for one.
        const isUnknown = running !== null && running.size > 0 && !running.has(endpoint);
        const instances = goneNow?.get(endpoint);
        if (instances !== undefined) gone.set(endpoint, instances);
        const isRefused = isUnknown || instances !== undefined;
        if (!isRefused && !(await verb.act(letters, letter))) return;
        (isRefused ? refused : done).add(letter);
        missing.delete(id);
      });
    // All of them, so that what was done is counted although another one has failed.
    const failed = (await Promise.allSettled(steps)).find(({ status }) => status === 'rejected');
    if (failed?.status === 'rejected') throw failed.reason;
  }
}

function sayRefused({ stderr }: CliContext, { refused, gone }: Result, { done }: Verb): void {
  for (const [endpoint, count] of refused.byEndpoint) {
    const instances = gone.get(endpoint);
    const why =
      instances === undefined
        ? 'no running relay has this endpoint in its file, so that it would become a dead letter ' +
          'again; start one that has it, then replay'
        : 'the endpoint answered 410, and a replica that has seen this sends it nothing until a restart; ' +
          `restart ${instances.map((one) => stillPrintable(one)).join(', ')}, then replay`;
    stderr.write(`expiry-relay: ${stillPrintable(endpoint)}: ${count} not ${done}: ${why}\n`);
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

/** What waits for endpoints that no running relay has, which the file need not name either. */
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
      `expiry-relay: no running relay has the endpoint "${stillPrintable(endpoint)}": ` +
        `${pluralize(pending, 'webhook')} waiting for it; what waits becomes dead letters once ` +
        `running relays have missed it for ${grace} (state.unknown_endpoint_grace)\n`,
    );
  }
}

/** Those of the state and of the file, or the one that is asked for. */
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
    return isEverything(filter) ? 'no dead letters' : nothingFits(filter, routes);
  }
  if (hidden === 0) return tally.text();
  return `${tally.text()}; ${hidden} older not shown (--limit 0 shows all)`;
}

/** A reader that has left has what it wanted; a signal came before all was done. */
function cutShort({ stop, stderr }: CliContext): ExitCode {
  if (!stop.aborted) return 0;
  stderr.write(`expiry-relay: ended by ${stop.reason} before all was done\n`);
  return 1;
}
