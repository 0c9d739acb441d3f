/** Formats dead letters as JSON, details of one letter, and totals. Pure. */
import { pluralize } from '../lib/pluralize.js';
import { decodeUtf8, escapeUnprintable, printableBytes, printableJson } from '../lib/printable.js';
import type { ContentType, Method } from '../model/body-format.js';
import type { DeadLetter, DeadReason, DetectedBy, RecordedAttempt } from '../model/vocabulary.js';
import { REASONS } from './dead-filters.js';
import type { Screen } from './screen.js';

/** A dead letter as `--json` prints it; programs depend on these names. */
export interface ListedLetter {
  readonly id: string;
  readonly endpoint: string;
  readonly route: string;
  readonly reason: DeadReason;
  readonly attempts: number;
  /** The outcome of the last attempt, for people; null when unknown. */
  readonly last_outcome: string | null;
  readonly died_at: string;
  readonly database: number;
  /** Escaped and truncated; the exact key is in the body. */
  readonly key: string;
  readonly detected_at: string;
  readonly detected_by: DetectedBy;
  readonly expired_at: string | null;
  readonly method: Method;
  readonly path: string;
  readonly content_type: ContentType | null;
  readonly body_bytes: number;
}

export function toListedLetter(letter: DeadLetter): ListedLetter {
  const { delivery, reason, attempts, lastOutcome, diedAtMs } = letter;
  const { id, endpoint, route, database, method, path, contentType, detectedBy, body } = delivery;
  return {
    id,
    endpoint,
    route,
    reason,
    attempts,
    last_outcome: lastOutcome,
    died_at: isoOf(diedAtMs),
    database,
    key: delivery.keyLabel,
    detected_at: isoOf(delivery.detectedAtMs),
    detected_by: detectedBy,
    expired_at: delivery.expiredAtMs === null ? null : isoOf(delivery.expiredAtMs),
    method,
    path,
    content_type: contentType,
    body_bytes: body.length,
  };
}

export function jsonLines(rows: readonly ListedLetter[]): string {
  return rows.map((row) => `${printableJson(row)}\n`).join('');
}

/**
 * A UTF-8 body is printed exactly as a string; other bytes would be base64. `url`: without query; null when the
 * endpoint is not in the configuration.
 */
export function jsonOf(letter: DeadLetter, url: string | null): string {
  const { body } = letter.delivery;
  const text = decodeUtf8(body);
  const shown = text === null ? { body_base64: body.toString('base64') } : { body: text };
  const shownAlone = {
    url,
    attempt_history: letter.history.map(({ startedAtMs, outcome, durationMs }) => ({
      at: isoOf(startedAtMs),
      outcome,
      duration_ms: durationMs,
    })),
    response_body: letter.lastOutcome === null ? null : splitOutcome(letter.lastOutcome).body,
  };
  return `${printableJson({ ...toListedLetter(letter), ...shownAlone, ...shown })}\n`;
}

/** The last error in short; the response body is left out. */
export function lastErrorOf({ last_outcome, attempts }: ListedLetter): string {
  if (last_outcome === null) return attempts === 0 ? 'never attempted' : 'unknown';
  return splitOutcome(last_outcome).error;
}

/** `HTTP 500: <body>` → its parts; other outcomes have no body. */
function splitOutcome(outcome: string): { readonly error: string; readonly body: string | null } {
  const [, status, body] = /^(HTTP \d{3}): ([\s\S]*)$/.exec(outcome) ?? [];
  if (status === undefined || body === undefined) return { error: outcome, body: null };
  return { error: status, body };
}

/** Counts by endpoint and reason; by endpoint alone when some letters were not read. */
export class Tally {
  readonly #counts = new Map<string, Map<DeadReason | null, number>>();
  total = 0;
  #isRead = true;

  add({ delivery, reason }: DeadLetter): void {
    const { endpoint } = delivery;
    const counts = this.#counts.get(endpoint) ?? new Map<DeadReason | null, number>();
    this.#counts.set(endpoint, counts.set(reason, (counts.get(reason) ?? 0) + 1));
    this.total += 1;
  }

  /** Sets the total of each endpoint, including letters that were added one by one. */
  addUnread(counts: ReadonlyMap<string, number>): void {
    for (const [endpoint, count] of counts) {
      const its = this.#counts.get(endpoint) ?? new Map<DeadReason | null, number>();
      const unread = count - sum(its);
      if (unread <= 0) continue;
      this.#counts.set(endpoint, its.set(null, unread));
      this.total += unread;
      this.#isRead = false;
    }
  }

  /** Counts sorted by endpoint name. */
  get byEndpoint(): readonly (readonly [endpoint: string, count: number])[] {
    return this.#sorted().map(([endpoint, counts]) => [endpoint, sum(counts)] as const);
  }

  /** `3 dead letters: audit 1 (gone 1), shop 2 (exhausted 2)` */
  text(): string {
    const parts = this.#sorted().map(([endpoint, counts]) => {
      const reasons = [...counts].map(([reason, count]) => `${reason} ${count}`).sort();
      const brackets = this.#isRead ? ` (${reasons.join(', ')})` : '';
      return `${escapeUnprintable(endpoint)} ${sum(counts)}${brackets}`;
    });
    return `${pluralize(this.total, 'dead letter')}: ${parts.join(', ')}`;
  }

  #sorted() {
    return [...this.#counts].sort(([one], [other]) => (one < other ? -1 : 1));
  }
}

/** A path is the longest value in `details`; the configuration limits paths to far less. */
const VALUE_CHARS_MAX = 8_192;

/** All fields of one letter, for people. `url`: as for `jsonOf`. */
export function details(
  letter: DeadLetter,
  url: string | null,
  nowMs: number,
  { paint }: Pick<Screen, 'paint'>,
): string {
  const { delivery, reason, lastOutcome } = letter;
  const row = toListedLetter(letter);
  const response = lastOutcome === null ? null : splitOutcome(lastOutcome).body;
  const first = {
    id: row.id,
    endpoint: row.endpoint,
    route: row.route,
    reason: `${reason} (${REASONS[reason] ?? 'not known to this version'})`,
    attempts: attemptsText(letter),
  };
  const history = letter.history.map((attempt) => ['', attemptText(attempt)] as const);
  const last = {
    'last error': lastErrorOf(row),
    ...(response === null ? {} : { response }),
    'died at': `${row.died_at} (${formatAge(nowMs - letter.diedAtMs)} ago)`,
    database: String(row.database),
    key: row.key,
    'expired at': row.expired_at ?? 'unknown',
    'detected at': row.detected_at,
    'detected by': row.detected_by,
    request: `${row.method} ${url ?? `${row.path} (the endpoint is not in the configuration)`}`,
    body:
      row.content_type === null
        ? 'none'
        : `${pluralize(row.body_bytes, 'byte')}, ${row.content_type}`,
  };
  const lines = [...Object.entries(first), ...history, ...Object.entries(last)].map(
    ([name, value]) =>
      `${paint('dim', name.padEnd(12))} ${escapeUnprintable(value, VALUE_CHARS_MAX)}\n`,
  );
  return `${lines.join('')}${printableBytes(delivery.body, Number.POSITIVE_INFINITY)}\n`;
}

/** The history may lack attempts, for instance one that a replica made when it crashed. */
function attemptsText({ attempts, history }: DeadLetter): string {
  if (history.length >= attempts) return String(attempts);
  return `${attempts} (${history.length === 0 ? 'none' : history.length} recorded)`;
}

/** The longest outcome of this version. */
const OUTCOME_CHARS = 'connection_refused'.length;

function attemptText({ startedAtMs, outcome, durationMs }: RecordedAttempt): string {
  const took = durationMs < 1_000 ? `${durationMs} ms` : `${(durationMs / 1_000).toFixed(1)} s`;
  return `${isoOf(startedAtMs)}  ${outcome.padEnd(OUTCOME_CHARS)}  ${took.padStart(8)}`;
}

const AGE_UNITS = [
  ['d', 86_400_000],
  ['h', 3_600_000],
  ['m', 60_000],
  ['s', 1_000],
] as const;

/** Uses the largest unit with a value of at least two: `90m` is more precise than `1h`. */
export function formatAge(ms: number): string {
  const [name, unitMs] = AGE_UNITS.find(([, size]) => ms >= 2 * size) ?? ['s', 1_000];
  return `${Math.max(0, Math.floor(ms / unitMs))}${name}`;
}

function isoOf(timeMs: number): string {
  return new Date(timeMs).toISOString();
}

function sum(counts: ReadonlyMap<unknown, number>): number {
  return [...counts.values()].reduce((all, count) => all + count, 0);
}
