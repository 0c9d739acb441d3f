/** What happens after an attempt. Pure: time and chance are arguments. */
import type { RetrySettings } from '../model/endpoint.js';
import type { DeadReason, Disposition, FailedAttempt, Outcome } from '../model/vocabulary.js';
import { RETRY_AFTER_MS_MAX } from '../outbox/outbox.js';

/** The endpoint accepts no more webhooks at all. */
export const STATUS_GONE = 410;
export const STATUS_TOO_MANY = 429;
const STATUS_UNAVAILABLE = 503;

/** Statuses whose `Retry-After` applies to the whole endpoint. */
const RETRY_AFTER_STATUSES: ReadonlySet<number> = new Set([STATUS_TOO_MANY, STATUS_UNAVAILABLE]);

/** Some servers send a decimal number, which the standard does not allow. */
const SECONDS = /^\d+(\.\d+)?$/;

/** `Sun, 06 Nov 1994 08:49:37 GMT` and two obsolete forms; Date.parse alone accepts almost anything. */
const HTTP_DATE = /^[A-Z][a-z]{2,8},? .*\d\d:\d\d:\d\d/;

export interface AttemptResult {
  readonly outcome: Outcome;
  /** 1 for the first. */
  readonly attempt: number;
  /** When the attempt began, by the monotonic clock. */
  readonly startedMs: number;
  /** When the attempt ended, by the monotonic clock. */
  readonly nowMs: number;
  /** The random share of the jitter for this retry, in [0, 1). */
  readonly fraction: number;
}

/** Done, a retry at a given time, or a dead letter. */
export function disposition(result: AttemptResult, retry: RetrySettings): Disposition {
  const { outcome } = result;
  switch (outcome.kind) {
    case 'accepted':
      return { kind: 'done' };
    case 'rejected':
      if (outcome.status === STATUS_GONE) return dead('gone', result);
      return retryOrDead(result, retry, outcome.retryAfterMs ?? 0);
    case 'unreachable':
      return retryOrDead(result, retry, 0);
  }
}

/** Jitter only shortens a wait, so that the schedule's values are upper bounds. */
function retryOrDead(result: AttemptResult, retry: RetrySettings, waitMsMin: number): Disposition {
  const scheduledMs = retry.scheduleMs[result.attempt - 1] ?? waitAfterStop(result);
  if (scheduledMs === undefined) return dead('exhausted', result);
  const jitteredMs = Math.round(scheduledMs * (1 - retry.jitter * result.fraction));
  const notBeforeMs = result.nowMs + Math.max(jitteredMs, waitMsMin);
  return { kind: 'retry', notBeforeMs, failure: failureOf(result) };
}

/** An attempt that the relay itself cancelled never exhausts the schedule. */
function waitAfterStop({ outcome }: AttemptResult): number | undefined {
  return outcome.kind === 'unreachable' && outcome.reason === 'stopped' ? 0 : undefined;
}

function dead(reason: DeadReason, result: AttemptResult): Disposition {
  const { outcome } = result;
  return { kind: 'dead', reason, lastOutcome: outcomeText(outcome), failure: failureOf(result) };
}

function failureOf({ outcome, startedMs, nowMs }: AttemptResult): FailedAttempt {
  const durationMs = Math.max(0, Math.round(nowMs - startedMs));
  return { startedMs, durationMs, outcome: shortOutcome(outcome) };
}

/** One line for the operator. */
function outcomeText(outcome: Outcome): string {
  const detail = outcome.kind === 'unreachable' ? outcome.detail : outcome.answer;
  const short = shortOutcome(outcome);
  return detail === '' ? short : `${short}: ${detail}`;
}

function shortOutcome(outcome: Outcome): string {
  return outcome.kind === 'unreachable' ? outcome.reason : `HTTP ${outcome.status}`;
}

/**
 * The receiver's clock at its response, from the Date header, in whole seconds. A date in `Retry-After` refers to that
 * clock, and ours may differ. Ours without a valid header.
 */
export function receiverTimeMs(date: string | undefined, nowMs: number): number {
  const text = date?.trim() ?? '';
  const toldMs = HTTP_DATE.test(text) ? Date.parse(text) : Number.NaN;
  return Number.isNaN(toldMs) ? nowMs : toldMs;
}

/** The parsed `Retry-After`. */
export type RetryAfter =
  | { readonly kind: 'none' }
  | { readonly kind: 'wait'; readonly ms: number }
  | { readonly kind: 'unreadable'; readonly text: string };

/**
 * Parses `Retry-After`: seconds, rounded up, or an HTTP date (RFC 9110, section 10.2.3). Returns `none` if the header
 * has no meaning for the status, or asks for no wait. `nowMs` is by the receiver's clock.
 */
export function readRetryAfter(
  status: number,
  header: string | undefined,
  nowMs: number,
): RetryAfter {
  if (!RETRY_AFTER_STATUSES.has(status) || header === undefined) return { kind: 'none' };
  const text = header.trim();
  const dateMs = HTTP_DATE.test(text) ? Date.parse(text) : Number.NaN;
  const waitMs = SECONDS.test(text) ? Math.ceil(Number(text)) * 1000 : dateMs - nowMs;
  if (Number.isNaN(waitMs)) return { kind: 'unreadable', text };
  return waitMs > 0 ? { kind: 'wait', ms: Math.min(waitMs, RETRY_AFTER_MS_MAX) } : { kind: 'none' };
}
