/** Runs the consumers of the queue, and repeats each step that stores data until it succeeds. */
import type { Clock } from '../lib/clock.js';
import { FencedError } from '../model/errors.js';
import type { CaptureEvents } from '../telemetry/capture-events.js';
import type { EventConsumer, EventQueue, QueuedEntry } from './event-queue.js';

/** Events of one consumer that are processed together. */
export const SLICE_MAX = 500;

const RETRY_FIRST_MS = 100;
/** Short: during a wait, all events behind the step wait as well, and no other replica takes the lease. */
const RETRY_MS_MAX = 500;

export interface EventProcessorParts {
  readonly queue: EventQueue;
  readonly events: CaptureEvents;
  readonly clock: Clock;
}

export class EventProcessor {
  readonly #parts: EventProcessorParts;
  readonly #stop = new AbortController();
  readonly #abandon = new AbortController();
  readonly #loops: Promise<void>[] = [];

  constructor(parts: EventProcessorParts) {
    this.#parts = parts;
  }

  /**
   * Processes the available events of a consumer, slice by slice, until a stop. `process` resolves with whether the
   * slice is finished; if not, its events stay in the queue. `gatherMs`: how long to wait for more events after a slice
   * that was not full.
   */
  run(
    consumer: EventConsumer,
    process: (slice: readonly QueuedEntry[]) => Promise<boolean>,
    gatherMs = 0,
  ): void {
    this.#loops.push(this.#loop(consumer, process, gatherMs));
  }

  /**
   * Repeats a step until it succeeds. Resolves with null if the step is abandoned: at a stop, or when another replica
   * holds the lease. In the latter case the queue is suspended.
   */
  async persist<Result>(step: () => Promise<Result>): Promise<Result | null> {
    const { queue, events, clock } = this.#parts;
    for (let retryInMs = RETRY_FIRST_MS; !this.#abandon.signal.aborted; ) {
      try {
        return await step();
      } catch (error) {
        if (error instanceof FencedError) {
          if (queue.suspend() && queue.size > 0) events.leaseLost(queue.size);
          return null;
        }
        events.captureFailed(error, queue.size, retryInMs);
        await clock.sleep(retryInMs, this.#abandon.signal);
        retryInMs = Math.min(retryInMs * 2, RETRY_MS_MAX);
      }
    }
    return null;
  }

  /** Stops once the queue is empty, or suspended. If the signal aborts, drops the rest and logs lost expirations. */
  async stop(signal: AbortSignal): Promise<void> {
    const { queue, events } = this.#parts;
    const abandon = () => this.#abandon.abort();
    if (signal.aborted) abandon();
    signal.addEventListener('abort', abandon, { once: true });
    await Promise.race([queue.drained(signal), queue.suspended(signal)]);
    this.#stop.abort();
    await Promise.all(this.#loops);
    signal.removeEventListener('abort', abandon);
    const isOthers = queue.isSuspended;
    const expirations = queue.reset().filter(({ kind }) => kind === 'expired').length;
    if (expirations > 0 && !isOthers) events.abandoned(expirations);
    events.flush();
  }

  async #loop(
    consumer: EventConsumer,
    process: (slice: readonly QueuedEntry[]) => Promise<boolean>,
    gatherMs: number,
  ): Promise<void> {
    const { queue, clock } = this.#parts;
    const { signal } = this.#stop;
    while (!signal.aborted) {
      const slice = await queue.take(consumer, SLICE_MAX, signal);
      if (slice.length > 0 && (await process(slice))) queue.finish(slice);
      if (gatherMs > 0 && slice.length < SLICE_MAX) await clock.sleep(gatherMs, signal);
    }
  }
}
