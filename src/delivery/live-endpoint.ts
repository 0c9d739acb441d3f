/** An endpoint as it is now: what it has from files follows these, while webhooks flow. */
import type { Clock } from '../lib/clock.js';
import type { Endpoint, FilesNow } from '../model/endpoint.js';
import type { DeliveryEvents } from '../telemetry/delivery-events.js';

/**
 * How often the files are looked at. Kubernetes itself takes up to a minute to bring a secret that
 * has changed, by a swapped link that a watched folder does not always tell of.
 */
export const LOOK_EVERY_MS = 5_000;

export class LiveEndpoint {
  readonly #events: DeliveryEvents;
  readonly #clock: Clock;
  readonly #stop = new AbortController();
  #current: Endpoint;
  /** What the files held last cannot be used. */
  #isStale = false;
  #loop: Promise<void> = Promise.resolve();

  constructor(endpoint: Endpoint, events: DeliveryEvents, clock: Clock) {
    this.#current = endpoint;
    this.#events = events;
    this.#clock = clock;
  }

  /** Another one each time that its files have changed to what can be used. */
  get current(): Endpoint {
    return this.#current;
  }

  /** Without files there is nothing to look at. */
  start(): void {
    if (this.#current.files !== null) this.#loop = this.#run(this.#current.files);
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#loop;
  }

  async #run(files: NonNullable<Endpoint['files']>): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      await this.#clock.sleep(LOOK_EVERY_MS, signal);
      if (!signal.aborted) this.#take(await files.look());
    }
  }

  #take(found: FilesNow<Endpoint>): void {
    switch (found.kind) {
      case 'same':
        return;
      case 'changed':
        this.#current = found.held;
        this.#events.credentialsChanged(found.held, this.#isStale);
        this.#isStale = false;
        return;
      case 'unusable':
        if (!this.#isStale) this.#events.credentialsUnusable(this.#current.name, found.problem);
        this.#isStale = true;
    }
  }
}
