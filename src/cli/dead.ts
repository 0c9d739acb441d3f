/** Lists and shows dead letters while relays run. */
import { formatDuration } from '../config/quantities.js';
import { joinPath } from '../delivery/request.js';
import { pluralize } from '../lib/pluralize.js';
import { escapeUnprintable, printable } from '../lib/printable.js';
import { UsageError } from '../model/errors.js';
import type { DeadLetter, Settings } from '../model/vocabulary.js';
import { NEWEST_MAX } from '../outbox/dead-places.js';
import type { CliContext, CommandAction, FileOption } from './context.js';
import {
  type DeadFilter,
  type FilterOptions,
  idsOf,
  isEverything,
  matches,
  noMatchText,
  readFilter,
} from './dead-filters.js';
import { deadTable } from './dead-table.js';
import {
  details,
  jsonLines,
  jsonOf,
  type ListedLetter,
  Tally,
  toListedLetter,
} from './dead-text.js';
import { endpointsOf, type OpenDeadLetters, withDeadLetters } from './open-dead-letters.js';
import { interruptedExitCode, Printer } from './printer.js';
import { fitted, screenOf } from './screen.js';

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

/** Lists the matching letters, the newest last, then the pending deliveries of unknown endpoints. */
export const listDead: CommandAction<ListDeadOptions> = async (context, options) => {
  const filter = readFilter(options);
  return withDeadLetters(context, options, async (opened) => {
    const { letters, settings } = opened;
    const endpoints = await endpointsOf(filter, opened);
    const nowMs = await letters.nowMs();
    const printer = new Printer(context);
    const table = deadTable(nowMs, screenOf(context));
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
  if (json && body) throw new UsageError('specify --json or --body, not both');
  return withDeadLetters(context, options, async (opened) => {
    const { letters, settings } = opened;
    const letter = await find(id, opened);
    if (letter === null) {
      context.stderr.write(`expiry-relay: no such dead letter: ${printable(id)}\n`);
      return 1;
    }
    const url = urlOf(letter, settings);
    const forPeople = async () => details(letter, url, await letters.nowMs(), screenOf(context));
    const text = body ? letter.delivery.body : json ? jsonOf(letter, url) : await forPeople();
    return (await new Printer(context).print(text)) ? 0 : interruptedExitCode(context);
  });
};

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
    const text =
      `expiry-relay: no running relay has the endpoint "${escapeUnprintable(endpoint)}", which has ` +
      `${pluralize(pending, 'pending webhook')}. Start a relay that has it; otherwise they become ` +
      `dead letters after ${grace} (state.unknown_endpoint_grace)\n`;
    stderr.write(fitted(stderr, text));
  }
}

/** The URL of the request, without its query, which may hold tokens; null for an unknown endpoint. */
function urlOf({ delivery }: DeadLetter, { endpoints }: Settings): string | null {
  const endpoint = endpoints.get(delivery.endpoint);
  if (endpoint === undefined) return null;
  const [path = ''] = joinPath(endpoint.url, delivery.path).split('?');
  return endpoint.url.origin + path;
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
  return `${tally.text()}; ${hidden} older not shown (--limit 0: all)`;
}
