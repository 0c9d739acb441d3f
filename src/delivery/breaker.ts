/**
 * The circuit breaker of one endpoint in one worker. A response of any status means that the endpoint is up.
 * Where most attempts fail, concurrency falls to one and doubles with each success. Where nothing responds at
 * all, the breaker opens: no attempt begins for a while, then one at a time probes the endpoint. Each replica
 * has its own breakers, in memory.
 */
import type { BreakerChange, BreakerState, Outcome, Prevented } from '../model/vocabulary.js';
import { STATUS_TOO_MANY } from './retry-policy.js';

export const BREAKER = {
  /** The attempts that are judged together. */
  window: 50,
  /** A window that took longer says too little about now. */
  windowMsMax: 30_000,
  /** More failures than this share of the window limit concurrency to one. */
  failedShareMax: 0.9,
  /** So many attempts in a row without any response open the breaker. */
  noResponsesToOpen: 5,
  /** How long it is open for the first time; each next time is twice as long. */
  openMsFirst: 1_000,
  /** A recovery of the endpoint is noticed within this time. */
  openMsMax: 60_000,
} as const;

/** How many attempts may begin now; where none may, after how long to ask again (null: when one has ended). */
export interface Room {
  readonly count: number;
  readonly inMs: number | null;
}

type State =
  | { readonly kind: 'closed' }
  | { readonly kind: 'limited'; readonly concurrency: number }
  /** From `untilMs` on, one attempt at a time, until there is a response. */
  | { readonly kind: 'open'; readonly openMs: number; readonly untilMs: number };

/** What an attempt says about the endpoint. */
type Verdict = 'success' | 'failure' | 'no_response' | 'nothing';

export class Breaker {
  readonly #concurrency: number;
  #state: State = { kind: 'closed' };
  /** How often it has opened. An attempt that began before the last time counts for nothing. */
  #openings = 0;
  /** The attempts under way that began since. */
  #underWay = 0;
  /** The attempts without a response since the last one with. */
  #noResponses = 0;
  /** The last attempts, oldest first. */
  readonly #window: { readonly endedAtMs: number; readonly failed: boolean }[] = [];

  /** `concurrency` is the endpoint's. */
  constructor(concurrency: number) {
    this.#concurrency = concurrency;
  }

  state(nowMs: number): BreakerState {
    const state = this.#state;
    if (state.kind === 'closed') return 'closed';
    return state.kind === 'open' && nowMs < state.untilMs ? 'open' : 'half_open';
  }

  room(nowMs: number): Room {
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

  /** An attempt takes a place. Returns what `record` and `leave` know it by. */
  begin(): number {
    this.#underWay += 1;
    return this.#openings;
  }

  /** Frees the place of an attempt. */
  leave(begun: number): void {
    if (begun === this.#openings) this.#underWay -= 1;
  }

  /** Takes note of an outcome. Returns what changed; null: nothing. */
  record(begun: number, outcome: Outcome | Prevented, nowMs: number): BreakerChange | null {
    const verdict = verdictOf(outcome);
    if (begun !== this.#openings || verdict === 'nothing') return null;
    this.#noResponses = verdict === 'no_response' ? this.#noResponses + 1 : 0;
    this.#window.push({ endedAtMs: nowMs, failed: verdict !== 'success' });
    if (this.#window.length > BREAKER.window) this.#window.shift();
    switch (verdict) {
      case 'success':
        return this.#succeeded();
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

  #succeeded(): BreakerChange | null {
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
    case 'refused':
      return outcome.status >= 500 || outcome.status === STATUS_TOO_MANY ? 'failure' : 'success';
    case 'unreachable':
      return outcome.cause === 'stopped' ? 'nothing' : 'no_response';
    case 'prevented':
      return 'nothing';
  }
}
