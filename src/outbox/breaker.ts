/**
 * The circuit breaker's policy. A run of failures opens it, for a pause; then one delivery at a
 * time probes the endpoint, and each probe that fails makes the next pause longer, until one is
 * answered. Here for the outbox in memory; scripts/fragments.ts does the same inside Redis, and the
 * contract suite holds both to it.
 */
import type { EndpointSignal } from '../vocabulary.js';
import type { BreakerChange, BreakerState } from './outbox.js';

export const BREAKER = {
  /** So many failures in a row open it. */
  failuresToOpen: 5,
  /** A failure so long after the one before begins a new run: one bad delivery is no bad endpoint. */
  runGapMsMax: 60_000,
  /** The first pause; each next one is twice as long. */
  pauseFirstMs: 1_000,
  /** So late at most is it noticed that the endpoint works again. */
  pauseMsMax: 60_000,
} as const;

/** What an endpoint may ask for is cut to an hour; a pause can be no longer. */
export const PAUSE_MS_MAX = 60 * 60 * 1000 + BREAKER.pauseMsMax;

export class Breaker<Probe> {
  #failures = 0;
  #failedAtMs = 0;
  /** How many pauses there have been since it was closed; 0 when it is. */
  #pauses = 0;
  #untilMs = 0;
  #probe: Probe | null = null;

  state(nowMs: number): BreakerState {
    if (this.#pauses === 0) return 'closed';
    return nowMs < this.#untilMs ? 'open' : 'half_open';
  }

  /** How much of the pause is left; 0 or less when there is none. */
  leftMs(nowMs: number): number {
    return this.#pauses === 0 ? 0 : this.#untilMs - nowMs;
  }

  /** How many deliveries may be claimed now, of `countMax`. */
  allowed(countMax: number, nowMs: number): number {
    switch (this.state(nowMs)) {
      case 'closed':
        return countMax;
      case 'open':
        return 0;
      case 'half_open':
        return this.#probe === null ? 1 : 0;
    }
  }

  /** Takes note of a claim: it is the probe when the breaker is half open. */
  claimed(claim: Probe, nowMs: number): void {
    if (this.state(nowMs) === 'half_open') this.#probe = claim;
  }

  /** Takes note that a claim has ended, and of what its attempt says about the endpoint. */
  ended(claim: Probe, signal: EndpointSignal, nowMs: number): BreakerChange | null {
    const wasProbe = this.#probe === claim;
    if (wasProbe) this.#probe = null;
    switch (signal.kind) {
      case 'none':
        return null;
      case 'working':
        return this.#close(wasProbe);
      case 'gone':
        // What waits is buried, and not held up by a pause.
        this.#close(true);
        return null;
      case 'failing':
        return this.#failed(wasProbe, signal.pauseMs, nowMs);
    }
  }

  /** Somebody has mended the endpoint: a pause is over, and nothing of before it counts. */
  reset(): void {
    this.#probe = null;
    this.#close(true);
  }

  /** What was claimed before the pause does not end it, however it was answered. */
  #close(wasProbe: boolean): BreakerChange | null {
    const wasClosed = this.#pauses === 0;
    if (!wasClosed && !wasProbe) return null;
    this.#failures = 0;
    this.#pauses = 0;
    return wasClosed ? null : { kind: 'closed' };
  }

  #failed(wasProbe: boolean, askedMs: number, nowMs: number): BreakerChange | null {
    if (this.#pauses === 0) {
      const isSameRun = nowMs - this.#failedAtMs <= BREAKER.runGapMsMax;
      this.#failures = isSameRun ? this.#failures + 1 : 1;
      this.#failedAtMs = nowMs;
      if (this.#failures < BREAKER.failuresToOpen && askedMs === 0) return null;
    } else if (!wasProbe) {
      // An attempt that began before the pause: it can only ask for a longer one.
      this.#untilMs = Math.max(this.#untilMs, nowMs + askedMs);
      return null;
    }
    this.#pauses += 1;
    const { pauseFirstMs, pauseMsMax } = BREAKER;
    const grownMs = Math.min(pauseFirstMs * 2 ** (this.#pauses - 1), pauseMsMax);
    const pauseMs = Math.max(grownMs, askedMs);
    this.#untilMs = nowMs + pauseMs;
    return { kind: 'opened', pauseMs };
  }
}
