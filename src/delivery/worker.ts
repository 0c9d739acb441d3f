/**
 * Delivers for one endpoint: claims what its limits allow and attempts each delivery. Endpoints
 * share nothing, so that a slow or dead one does not delay the others.
 */
import { setMaxListeners } from 'node:events';
import { Condition } from '../lib/condition.js';
import { isSameValue } from '../lib/same-value.js';
import type { Endpoint } from '../model/endpoint.js';
import type { DeadReason, Outcome } from '../model/vocabulary.js';
import type { Claimed } from '../outbox/outbox.js';
import { type AttemptParts, attempt, forgetGone, release, settle, settleDone } from './attempt.js';
import { Breaker, type Capacity } from './breaker.js';
import { isSameExceptCredentials } from './endpoint-changes.js';
import { RateLimiter } from './rate-limiter.js';
import { STATUS_GONE } from './retry-policy.js';

/** The wait after a failed call of the outbox. */
const OUTBOX_RETRY_MS = 1_000;

/** How often a stop checks whether all due deliveries have been attempted. */
const DRAIN_POLL_MS = 20;

/** How long concurrency stays limited after an attempt was prevented. */
const SCARCE_MS = 1_000;

/** Never aborts; all workers share it. */
const NEVER = new AbortController().signal;
setMaxListeners(0, NEVER);

export interface WorkerParts extends Omit<AttemptParts, 'stop'> {
  /** Returns the maximum age of a webhook of a route, in milliseconds; null for none. */
  readonly maxAgeMs: (route: string) => number | null;
}

/**
 * delivering: claims and attempts. gone: the endpoint answered 410; claimed deliveries become dead letters. stopping:
 * claims nothing; attempts in flight finish.
 */
type Life = 'delivering' | 'gone' | 'stopping';

/** An attempt that has begun, as its breaker knows it. */
interface Begun {
  readonly breaker: Breaker;
  readonly handle: number;
}

export class Worker {
  readonly #parts: WorkerParts & AttemptParts;
  #limiter: RateLimiter | null;
  #breaker: Breaker;
  #life: Life = 'delivering';
  /** Aborts any wait of the loop, which then computes again how many deliveries to claim. */
  #skipWait = new AbortController();
  /** Notifies when a place is free, or an end is stored. */
  readonly #changed = new Condition();
  /** Aborts when the grace period of a stop is over. */
  readonly #cancelAttempts = new AbortController();
  /** Places that are taken: by attempts in progress, and by failed ones until their ends are stored. */
  #inFlight = 0;
  /** Accepted webhooks that are not settled yet. They take no place. After a crash, they are sent again. */
  #settling = 0;
  /** Accepted webhooks that wait for the next turn of the event loop, which settles them together. */
  readonly #accepted: Claimed[] = [];
  /** Claims of prevented attempts that are being released. */
  #releasing = 0;
  /** Resolves when the dead letters are stored that were made because of a 410. */
  #goneStored: Promise<unknown> = Promise.resolve();
  /** How many attempts this machine could make when one was prevented, and until when that limit applies. */
  #scarcity = { places: 0, untilMs: Number.NEGATIVE_INFINITY };
  #loop: Promise<void> = Promise.resolve();

  constructor(parts: WorkerParts) {
    this.#parts = { ...parts, stop: this.#cancelAttempts.signal };
    // Each attempt in flight listens to this signal while the state Redis is unavailable.
    setMaxListeners(0, this.#cancelAttempts.signal);
    const { events, clock } = parts;
    const { name, rateLimit, concurrency } = parts.current();
    this.#limiter = rateLimit === null ? null : new RateLimiter(rateLimit, clock);
    this.#breaker = new Breaker(concurrency);
    events.watchBreaker(name, () => this.#breaker.state(clock.monotonicMs()));
  }

  /** The endpoint's name. */
  get endpoint(): string {
    return this.#parts.current().name;
  }

  /** Whether the endpoint answered 410: the worker sends nothing more. */
  get isGone(): boolean {
    return this.#life === 'gone';
  }

  start(): void {
    this.#loop = this.#run();
  }

  /**
   * Follows a change of the endpoint, whose current version `current` returns by now. `before`: the version before it.
   * New credentials alone leave the breaker and the rate as they are.
   */
  update(before: Endpoint): void {
    const { current, clock, events } = this.#parts;
    const { rateLimit, concurrency, name } = current();
    if (!isSameExceptCredentials(before, current())) {
      this.#breaker = new Breaker(concurrency);
      events.breakerReset(name);
      if (!isSameValue(before.rateLimit, rateLimit)) {
        this.#limiter = rateLimit === null ? null : new RateLimiter(rateLimit, clock);
      }
    }
    this.retryGone();
    this.#skipWait.abort();
  }

  /** Delivers again if the endpoint has answered 410. */
  retryGone(): void {
    if (this.#life !== 'gone') return;
    this.#life = 'delivering';
    this.#parts.events.endpointRetried(this.endpoint);
    this.#skipWait.abort();
    void this.#forgetGone();
  }

  /** Lets dead letters of the endpoint be replayed, once all that were made because of the 410 are stored. */
  async #forgetGone(): Promise<void> {
    await this.#goneStored;
    if (this.#life === 'gone') return;
    await forgetGone(this.endpoint, this.#parts);
  }

  /** Resolves when no due delivery can be attempted any more, or when the signal aborts. */
  async drained(signal: AbortSignal): Promise<void> {
    const { outbox, clock } = this.#parts;
    while (!signal.aborted) {
      const { oldestDueForMs, throttledForMs, paused } = await outbox.depth(this.endpoint);
      const isOpen = this.#breaker.state(clock.monotonicMs()) === 'open';
      const isHeld = throttledForMs > 0 || paused !== null || isOpen;
      const idle = oldestDueForMs === null || isHeld;
      if (idle && this.#inFlight + this.#settling === 0) return;
      await clock.sleep(DRAIN_POLL_MS, signal);
    }
  }

  /** Stops claiming; resolves when no attempt is in flight. Once `signal` aborts, attempts in flight are cancelled. */
  async stop(signal: AbortSignal): Promise<void> {
    const { sender } = this.#parts;
    const cancelAttempts = () => {
      this.#cancelAttempts.abort();
      void sender.close();
    };
    this.#life = 'stopping';
    this.#skipWait.abort();
    if (signal.aborted) cancelAttempts();
    signal.addEventListener('abort', cancelAttempts, { once: true });
    await this.#loop;
    while (this.#inFlight + this.#settling > 0) {
      await this.#changed.wait(this.#parts.clock, null, NEVER);
    }
    signal.removeEventListener('abort', cancelAttempts);
    await sender.close();
  }

  async #run(): Promise<void> {
    const { events, clock } = this.#parts;
    while (this.#life !== 'stopping') {
      this.#skipWait = new AbortController();
      const { signal } = this.#skipWait;
      try {
        await this.#step(signal);
      } catch (error) {
        events.outboxFailed(this.endpoint, error);
        await clock.sleep(OUTBOX_RETRY_MS, signal);
      }
    }
  }

  /** Claims as many deliveries as may be attempted now and starts their attempts; waits if there are none. */
  async #step(signal: AbortSignal): Promise<void> {
    const { outbox, clock } = this.#parts;
    const { count, inMs } = this.#capacity(clock.monotonicMs());
    if (count === 0) return this.#changed.wait(clock, inMs, signal);
    const claims = await outbox.claim(this.endpoint, count, signal);
    for (const claimed of claims) this.#begin(claimed);
  }

  /** The smallest of all limits. Dead-lettering obeys concurrency alone. */
  #capacity(nowMs: number): Capacity {
    const { concurrency } = this.#parts.current();
    const inFlight = this.#inFlight;
    const limits: Capacity[] = [
      { count: concurrency - inFlight, inMs: null },
      { count: concurrency - this.#settling, inMs: null },
    ];
    if (this.#life !== 'gone') {
      const { places, untilMs } = this.#scarcity;
      if (nowMs < untilMs) limits.push({ count: places - inFlight, inMs: untilMs - nowMs });
      limits.push(this.#breaker.capacity(nowMs));
      if (this.#limiter !== null) {
        limits.push({ count: this.#limiter.available(), inMs: this.#limiter.waitMs() });
      }
    }
    const none = limits.find(({ count }) => count <= 0);
    if (none !== undefined) return { ...none, count: 0 };
    return { count: Math.min(...limits.map(({ count }) => count)), inMs: null };
  }

  #begin(claimed: Claimed): void {
    this.#inFlight += 1;
    const breaker = this.#breaker;
    const begun = { breaker, handle: breaker.begin() };
    const reason = this.#deadReason(claimed);
    if (reason !== null) return this.#freeAfter(this.#deadLetter(claimed, reason), begun);
    this.#limiter?.take(1);
    attempt(claimed, this.#parts, (attempted) => {
      if (attempted.kind === 'prevented') return this.#freeAfter(this.#release(claimed), begun);
      const { outcome, disposition } = attempted;
      this.#judge(begun, outcome);
      if (disposition.kind !== 'done') {
        const retryAfterMs = this.#retryAfterMs(outcome);
        const stored = settle(claimed, disposition, retryAfterMs, this.#parts);
        if (disposition.kind === 'dead') this.#noteDead(disposition.reason, stored);
        return this.#freeAfter(stored, begun);
      }
      this.#settling += 1;
      if (this.#accepted.push(claimed) === 1) void this.#settleAccepted();
      this.#free(begun);
    });
  }

  /** Waits for the next turn of the event loop, then settles all webhooks that were accepted by then. */
  async #settleAccepted(): Promise<void> {
    await this.#parts.clock.turn();
    const claims = this.#accepted.splice(0);
    await settleDone(claims, this.#parts);
    this.#settling -= claims.length;
    this.#changed.notifyAll();
  }

  /** Frees the place of an attempt. */
  #free({ breaker, handle }: Begun): void {
    this.#inFlight -= 1;
    breaker.end(handle);
    this.#changed.notifyAll();
  }

  /** Keeps the place until the end of the claim is stored, so that no attempt precedes a wait that it asks for. */
  #freeAfter(stored: Promise<void>, begun: Begun): void {
    void stored.then(() => this.#free(begun));
  }

  /** Why no attempt is made; null: one is. A dead letter that was replayed is attempted at any age. */
  #deadReason({ delivery, isReplay }: Claimed): 'gone' | 'too_old' | null {
    if (this.#life === 'gone') return 'gone';
    const { serverNowMs } = this.#parts;
    const maxAgeMs = this.#parts.maxAgeMs(delivery.route);
    if (maxAgeMs === null || isReplay) return null;
    const ageMs = serverNowMs() - (delivery.expiredAtMs ?? delivery.detectedAtMs);
    return ageMs > maxAgeMs ? 'too_old' : null;
  }

  /** Dead-letters a delivery without the attempt that was claimed. */
  #deadLetter(claimed: Claimed, reason: 'gone' | 'too_old'): Promise<void> {
    const { events } = this.#parts;
    if (reason === 'gone') events.deadUnattempted(claimed.delivery);
    else events.deadTooOld(claimed.delivery);
    const unattempted = { ...claimed, attempt: claimed.attempt - 1 };
    const dead = { kind: 'dead', reason, lastOutcome: null, failure: null } as const;
    const stored = settle(unattempted, dead, 0, this.#parts);
    this.#noteDead(reason, stored);
    return stored;
  }

  #noteDead(reason: DeadReason, stored: Promise<void>): void {
    if (reason === 'gone') this.#goneStored = Promise.all([this.#goneStored, stored]);
  }

  /** Applies an outcome to the whole endpoint: a 410 ends it, and the breaker counts the outcome. */
  #judge({ breaker, handle }: Begun, outcome: Outcome): void {
    const { events, clock } = this.#parts;
    const isGone = outcome.kind === 'rejected' && outcome.status === STATUS_GONE;
    if (isGone && this.#life === 'delivering') {
      events.endpointGone(this.endpoint);
      this.#life = 'gone';
      this.#skipWait.abort();
    }
    const change = breaker.record(handle, outcome, clock.monotonicMs());
    if (change === null || breaker !== this.#breaker) return;
    events.breakerChanged(this.endpoint, change);
    // A claim in progress may ask for more deliveries than may start now.
    if (change.kind !== 'closed') this.#skipWait.abort();
  }

  /** How long to throttle the endpoint. Dead-lettering ignores throttling. */
  #retryAfterMs(outcome: Outcome): number {
    const { events } = this.#parts;
    const retryAfterMs = outcome.kind === 'rejected' ? (outcome.retryAfterMs ?? 0) : 0;
    if (retryAfterMs === 0 || this.#life === 'gone') return 0;
    events.endpointThrottled(this.endpoint, retryAfterMs);
    return retryAfterMs;
  }

  /** Releases a claim because this machine lacks a resource. The deliveries behind it wait as well. */
  async #release(claimed: Claimed): Promise<void> {
    this.#releasing += 1;
    const untilMs = this.#parts.clock.monotonicMs() + SCARCE_MS;
    this.#scarcity = { places: this.#inFlight - this.#releasing, untilMs };
    await release(claimed, this.#parts);
    this.#releasing -= 1;
  }
}
