/**
 * The circuit breaker of one endpoint in one worker. A response of any status means that the endpoint is up.
 * Where most attempts fail, concurrency falls to one and doubles with each success. Where nothing responds at
 * all, the breaker opens: no attempt begins for a while, then one at a time probes the endpoint. Each replica
 * has its own breakers, in memory.
 */
import type {
  BreakerChange,
  BreakerState,
  Outcome,
  Prevented,
  UnreachableReason,
} from '../model/vocabulary.js';
import { STATUS_TOO_MANY } from './retry-policy.js';

export const BREAKER = {
  /** The number of recent attempts that are judged together. */
  window: 50,
  /** A longer window is not judged: its attempts say too little about the present. */
  windowMsMax: 30_000,
  /** More failures than this share of the window limit concurrency to one. */
  failedShareMax: 0.9,
  /** This many attempts in a row without a response open the breaker. */
  noResponsesToOpen: 5,
  /** How long the breaker stays open the first time; the time doubles with each further opening. */
  openMsFirst: 1_000,
  /** The longest time that the breaker stays open: an upper bound on noticing a recovery. */
  openMsMax: 60_000,
} as const;

/** How many attempts may start now. If none may, `inMs` is when to ask again (null: when one has ended). */
export interface Capacity {
  readonly count: number;
  readonly inMs: number | null;
}

type State =
  | { readonly kind: 'closed' }
  | { readonly kind: 'limited'; readonly concurrency: number }
  /** From `untilMs` on, one attempt at a time probes the endpoint, until there is a response. */
  | { readonly kind: 'open'; readonly openMs: number; readonly untilMs: number };

/** What an attempt's outcome means for the endpoint. */
type Verdict = 'success' | 'failure' | 'no_response' | 'nothing';

export class Breaker {
  readonly #concurrency: number;
  #state: State = { kind: 'closed' };
  /** How often the breaker has opened. Attempts that began before the last opening are ignored. */
  #openings = 0;
  /** Attempts in flight that began since the last opening. */
  #underWay = 0;
  /** Consecutive attempts without a response. */
  #noResponses = 0;
  /** The last attempts, oldest first. */
  readonly #window: { readonly endedAtMs: number; readonly failed: boolean }[] = [];

  /** `concurrency` is the endpoint's setting. */
  constructor(concurrency: number) {
    this.#concurrency = concurrency;
  }

  state(nowMs: number): BreakerState {
    const state = this.#state;
    if (state.kind === 'closed') return 'closed';
    return state.kind === 'open' && nowMs < state.untilMs ? 'open' : 'half_open';
  }

  capacity(nowMs: number): Capacity {
    const state = this.#state;
    switch (state.kind) {
      case 'closed':
        return { count: this.#concurrency - this.#underWay, inMs: null };
      case 'limited':
        return { count: state.concurrency - this.#underWay, inMs: null };
      case 'open':
        if (nowMs < state.untilMs) return { count: 0, inMs: state.untilMs - nowMs };
        return { count: 1 - this.#underWay, inMs: null };
    }
  }

  /** Counts an attempt that starts. Returns the handle for `record` and `end`. */
  begin(): number {
    this.#underWay += 1;
    return this.#openings;
  }

  /** Counts an attempt that has ended. */
  end(begun: number): void {
    if (begun === this.#openings) this.#underWay -= 1;
  }

  /** Records an outcome. Returns the change of the breaker's state; null: none. */
  record(begun: number, outcome: Outcome | Prevented, nowMs: number): BreakerChange | null {
    const verdict = verdictOf(outcome);
    if (begun !== this.#openings || verdict === 'nothing') return null;
    this.#noResponses = verdict === 'no_response' ? this.#noResponses + 1 : 0;
    this.#window.push({ endedAtMs: nowMs, failed: verdict !== 'success' });
    if (this.#window.length > BREAKER.window) this.#window.shift();
    switch (verdict) {
      case 'success':
        return this.#succeed();
      case 'failure':
        return this.#state.kind === 'open' || this.#failsMostly(nowMs) ? this.#limit(1) : null;
      case 'no_response':
        if (this.#state.kind === 'open') return this.#open(2 * this.#state.openMs, nowMs);
        if (this.#noResponses >= BREAKER.noResponsesToOpen) {
          return this.#open(BREAKER.openMsFirst, nowMs);
        }
        return this.#failsMostly(nowMs) ? this.#limit(1) : null;
    }
  }

  #succeed(): BreakerChange | null {
    switch (this.#state.kind) {
      case 'closed':
        return null;
      case 'limited':
        return this.#limit(2 * this.#state.concurrency);
      case 'open':
        return this.#limit(2);
    }
  }

  #failsMostly(nowMs: number): boolean {
    const [oldest] = this.#window;
    if (oldest === undefined || this.#window.length < BREAKER.window) return false;
    if (nowMs - oldest.endedAtMs > BREAKER.windowMsMax) return false;
    const failures = this.#window.filter(({ failed }) => failed).length;
    return failures > BREAKER.failedShareMax * BREAKER.window;
  }

  #limit(concurrency: number): BreakerChange | null {
    const before = this.#state.kind;
    const isClosed = concurrency >= this.#concurrency;
    this.#state = isClosed ? { kind: 'closed' } : { kind: 'limited', concurrency };
    const { kind } = this.#state;
    return kind === before ? null : { kind };
  }

  #open(askedMs: number, nowMs: number): BreakerChange {
    const openMs = Math.min(askedMs, BREAKER.openMsMax);
    this.#state = { kind: 'open', openMs, untilMs: nowMs + openMs };
    this.#openings += 1;
    this.#underWay = 0;
    return { kind: 'opened', openMs };
  }
}

function verdictOf(outcome: Outcome | Prevented): Verdict {
  switch (outcome.kind) {
    case 'accepted':
      return 'success';
    case 'rejected':
      return outcome.status >= 500 || outcome.status === STATUS_TOO_MANY ? 'failure' : 'success';
    case 'unreachable':
      return isOwnFailure(outcome.reason) ? 'nothing' : 'no_response';
    case 'prevented':
      return 'nothing';
  }
}

/** Whether the attempt failed because of the relay, and says nothing about the endpoint. */
function isOwnFailure(reason: UnreachableReason): boolean {
  return reason === 'stopped' || reason === 'internal_error';
}
