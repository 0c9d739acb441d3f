/**
 * Delivers for one endpoint: claims what its limits allow and attempts each delivery. Endpoints
 * share nothing, so that a slow or dead one delays nobody else.
 */
import { setMaxListeners } from 'node:events';
import type { Claimed } from '../outbox/outbox.js';
import { type AttemptParts, attempt, release, settle } from './attempt.js';
import { RateLimiter } from './rate-limiter.js';

/** The wait after the outbox could not be used. */
const OUTBOX_RETRY_MS = 1_000;

/** How often a stop looks whether all that is due has been attempted. */
const DRAIN_POLL_MS = 20;

/** How long after a prevented attempt concurrency stays at what this machine allowed then. */
const SCARCE_MS = 1_000;

export type WorkerParts = Omit<AttemptParts, 'stop'>;

export class Worker {
  readonly #parts: AttemptParts;
  readonly #limiter: RateLimiter | null;
  readonly #stop = new AbortController();
  /** Aborts when the grace of a stop is over. */
  readonly #brokenOff = new AbortController();
  readonly #inFlight = new Set<Promise<void>>();
  /** Claims of attempts that were prevented. */
  readonly #handingBack = new Set<Claimed>();
  /** How many attempts this machine allows at a time, until `#scarceUntilMs`. */
  #places = 0;
  #scarceUntilMs = Number.NEGATIVE_INFINITY;
  /** Called each time that an attempt ends. */
  #onPlaceFree: () => void = () => undefined;
  /** Aborts when nothing has to wait for its time any more: at a stop, or once the endpoint is gone. */
  readonly #waitsOver = new AbortController();
  #gone = false;
  #loop: Promise<void> = Promise.resolve();

  constructor(parts: WorkerParts) {
    this.#parts = { ...parts, stop: this.#brokenOff.signal };
    // Each attempt under way listens to it while the state Redis is away.
    setMaxListeners(0, this.#brokenOff.signal);
    const { rateLimit } = parts.endpoint;
    this.#limiter = rateLimit === null ? null : new RateLimiter(rateLimit, parts.clock);
  }

  /** The endpoint's name. */
  get endpoint(): string {
    return this.#parts.endpoint.name;
  }

  /** Whether it has answered 410: it is sent nothing more. */
  get isGone(): boolean {
    return this.#gone;
  }

  start(): void {
    this.#loop = this.#run();
  }

  /** Resolves when nothing that is due could be attempted any more, or the signal aborts. */
  async drained(signal: AbortSignal): Promise<void> {
    const { outbox, endpoint, clock } = this.#parts;
    while (!signal.aborted) {
      const { oldestDueForMs, breaker } = await outbox.depth(endpoint.name);
      const idle = oldestDueForMs === null || breaker === 'open';
      if (idle && this.#inFlight.size === 0) return;
      await clock.sleep(DRAIN_POLL_MS, signal);
    }
  }

  /** Claims no more; resolves when nothing is in flight. Once `signal` aborts, breaks that off. */
  async stop(signal: AbortSignal): Promise<void> {
    const { sender } = this.#parts;
    const breakOff = () => {
      this.#brokenOff.abort();
      void sender.close();
    };
    this.#stop.abort();
    this.#waitsOver.abort();
    if (signal.aborted) breakOff();
    signal.addEventListener('abort', breakOff, { once: true });
    await this.#loop;
    await Promise.all(this.#inFlight);
    signal.removeEventListener('abort', breakOff);
    await sender.close();
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      try {
        await this.#step(signal);
      } catch (error) {
        this.#parts.events.deliveryFailed(this.#parts.endpoint.name, error);
        await this.#parts.clock.sleep(OUTBOX_RETRY_MS, signal);
      }
    }
  }

  /** Waits until attempts are allowed, claims as many as are, and begins them. */
  async #step(signal: AbortSignal): Promise<void> {
    const { endpoint, outbox, clock } = this.#parts;
    const scarceMs = this.#scarceUntilMs - clock.monotonicMs();
    const places = scarceMs > 0 ? this.#places : endpoint.concurrency;
    const free = places - this.#inFlight.size;
    if (free <= 0) return this.#placeFree(scarceMs);
    // What only has to be buried obeys no limit.
    const limiter = this.#gone ? null : this.#limiter;
    const waitMs = limiter?.waitMs() ?? 0;
    if (waitMs > 0) return clock.sleep(waitMs, this.#waitsOver.signal);
    const allowed = Math.min(free, limiter?.available() ?? free);
    const claims = await outbox.claim(endpoint.name, allowed, signal);
    limiter?.take(claims.length);
    for (const claimed of claims) this.#begin(claimed);
  }

  /**
   * An attempt has ended, or the scarcity has. Not a race of what is in flight: each race would
   * leave memory behind in all that hang.
   */
  #placeFree(scarceMs: number): Promise<void> {
    return new Promise((resolve) => {
      const { signal } = this.#stop;
      const isScarce = scarceMs > 0;
      const cancel = isScarce ? this.#parts.clock.after(scarceMs, () => free()) : () => undefined;
      const free = () => {
        cancel();
        signal.removeEventListener('abort', free);
        resolve();
      };
      if (isScarce) signal.addEventListener('abort', free, { once: true });
      this.#onPlaceFree = free;
    });
  }

  #begin(claimed: Claimed): void {
    const { events, endpoint } = this.#parts;
    const ended = this.#deliver(claimed)
      .catch((error: unknown) => events.deliveryFailed(endpoint.name, error))
      .finally(() => {
        this.#inFlight.delete(ended);
        this.#handingBack.delete(claimed);
        this.#onPlaceFree();
      });
    this.#inFlight.add(ended);
  }

  async #deliver(claimed: Claimed): Promise<void> {
    const { events, endpoint } = this.#parts;
    if (this.#gone) {
      events.deadUnattempted(claimed.delivery);
      // The attempt that the claim was for is not made.
      const unattempted = { ...claimed, attempt: claimed.attempt - 1 };
      const buried = { kind: 'dead', reason: 'gone', lastOutcome: null } as const;
      return settle(unattempted, buried, { kind: 'none' }, this.#parts);
    }
    const signal = await attempt(claimed, this.#parts);
    if (signal.kind === 'prevented') return this.#handBack(claimed);
    if (signal.kind !== 'gone' || this.#gone) return;
    events.endpointGone(endpoint.name);
    this.#gone = true;
    this.#waitsOver.abort();
  }

  /** This machine lacks something: the webhook waits, and so do those behind it. */
  async #handBack(claimed: Claimed): Promise<void> {
    this.#handingBack.add(claimed);
    this.#places = this.#inFlight.size - this.#handingBack.size;
    this.#scarceUntilMs = this.#parts.clock.monotonicMs() + SCARCE_MS;
    await release(claimed, this.#parts);
  }
}
