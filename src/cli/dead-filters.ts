/** Command-line options → a filter for dead letters. Pure. */

import { formatDuration, type Range, readDuration } from '../config/quantities.js';
import { NAME_EXPECTED } from '../config/strings.js';
import { didYouMean } from '../config/suggest.js';
import { printable } from '../lib/printable.js';
import { UsageError } from '../model/errors.js';
import { NAME_PATTERN } from '../model/names.js';
import type { DeadLetter, DeadReason, Route } from '../model/vocabulary.js';

/** The reasons, described for people. */
export const REASONS: Readonly<Record<DeadReason, string>> = {
  exhausted: 'all retries failed',
  gone: 'the endpoint has returned 410',
  too_old: 'it was older than max_age of its route',
  unknown_endpoint: 'no running relay had the endpoint in its configuration',
};

/** The maximum is the limit of `dead_letters.keep`. */
const AGE_RANGE: Range = { min: 0, max: 3650 * 24 * 3_600_000 };

const FOUND_CHARS_MAX = 80;

/** The options as commander passes them. */
export interface FilterOptions {
  readonly endpoint?: string;
  readonly route?: string;
  readonly id?: readonly string[];
  readonly reason?: string;
  readonly olderThan?: string;
  readonly newerThan?: string;
}

/** A filter matches letters that meet every condition; a null condition matches all. */
export interface DeadFilter {
  readonly endpoint: string | null;
  readonly route: string | null;
  /** Letters with any of these ids match. */
  readonly ids: ReadonlySet<string> | null;
  readonly reason: DeadReason | null;
  /** Age since the delivery was dead-lettered. */
  readonly ageMsMin: number | null;
  readonly ageMsMax: number | null;
}

/** `ids`: the ids given as arguments. Throws a UsageError. */
export function readFilter(options: FilterOptions, ids: readonly string[] = []): DeadFilter {
  const allIds = new Set([...ids, ...(options.id ?? [])]);
  const filter: DeadFilter = {
    endpoint: options.endpoint ?? null,
    route: options.route === undefined ? null : readRoute(options.route),
    ids: allIds.size === 0 ? null : allIds,
    reason: options.reason === undefined ? null : readReason(options.reason),
    ageMsMin: readAge('--older-than', options.olderThan),
    ageMsMax: readAge('--newer-than', options.newerThan),
  };
  const { ageMsMin, ageMsMax } = filter;
  if (ageMsMin !== null && ageMsMax !== null && ageMsMin >= ageMsMax) {
    throw new UsageError(
      `--older-than ${formatDuration(ageMsMin)} and --newer-than ${formatDuration(ageMsMax)} ` +
        'match nothing: expected --older-than to be shorter',
    );
  }
  return filter;
}

/** Whether the filter matches every dead letter. */
export function isEverything(filter: DeadFilter): boolean {
  return Object.values(filter).every((part) => part === null);
}

/** `nowMs`: by the clock that set the letters' timestamps. */
export function matches(filter: DeadFilter, letter: DeadLetter, nowMs: number): boolean {
  const { delivery, reason, diedAtMs } = letter;
  const ageMs = nowMs - diedAtMs;
  return (
    (filter.endpoint === null || filter.endpoint === delivery.endpoint) &&
    (filter.route === null || filter.route === delivery.route) &&
    (filter.ids === null || filter.ids.has(delivery.id)) &&
    (filter.reason === null || filter.reason === reason) &&
    (filter.ageMsMin === null || ageMs >= filter.ageMsMin) &&
    (filter.ageMsMax === null || ageMs <= filter.ageMsMax)
  );
}

/** Throws a UsageError when the endpoint is neither in the configuration nor in the state. */
export function checkEndpoint(
  { endpoint }: Pick<DeadFilter, 'endpoint'>,
  known: ReadonlySet<string>,
  option = '--endpoint',
): void {
  if (endpoint === null || known.has(endpoint)) return;
  const hint = didYouMean(endpoint, known);
  throw misuse(option, 'an endpoint in the configuration or in the state', endpoint, hint);
}

/** Message for no matches. A route missing from the configuration may have been removed or mistyped. */
export function noMatchText(
  { route }: DeadFilter,
  fileRoutes: readonly Pick<Route, 'name'>[],
): string {
  const names = fileRoutes.map(({ name }) => name);
  if (route === null || names.includes(route)) return 'no dead letters match';
  const hint = didYouMean(route, names);
  const brackets = hint === null ? '' : ` (${hint})`;
  return `no dead letters match; the configuration has no route "${route}"${brackets}`;
}

/** The ids to look up; null for all letters. */
export function idsOf({ ids }: DeadFilter): readonly string[] | null {
  return ids === null ? null : [...ids];
}

function readRoute(text: string): string {
  if (NAME_PATTERN.test(text)) return text;
  throw misuse('--route', NAME_EXPECTED, text, null);
}

function readReason(text: string): DeadReason {
  const reasons = Object.keys(REASONS) as DeadReason[];
  const reason = reasons.find((candidate) => candidate === text);
  if (reason !== undefined) return reason;
  const last = reasons.at(-1);
  throw misuse(
    '--reason',
    `${reasons.slice(0, -1).join(', ')} or ${last}`,
    text,
    didYouMean(text, reasons),
  );
}

function readAge(option: string, text: string | undefined): number | null {
  if (text === undefined) return null;
  const reading = readDuration(text, AGE_RANGE);
  if (reading.ok) return reading.value;
  const { wording } = reading;
  if (wording.kind === 'statement') throw new UsageError(`${option}: ${wording.text}`);
  throw misuse(option, wording.expected, text, wording.hint);
}

function misuse(option: string, expected: string, found: string, hint: string | null): UsageError {
  const shown = found === '' ? 'an empty string' : `"${printable(found, FOUND_CHARS_MAX)}"`;
  const brackets = hint === null ? '' : ` (${hint})`;
  return new UsageError(`${option}: expected ${expected}, found ${shown}${brackets}`);
}
