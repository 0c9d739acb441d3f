/** The current version of an endpoint: its credentials follow their files while webhooks are sent. */
import type { Clock } from '../lib/clock.js';
import { PeriodicLoop } from '../lib/periodic-loop.js';
import type { Endpoint, FilesNow } from '../model/endpoint.js';
import type { DeliveryEvents } from '../telemetry/delivery-events.js';

/**
 * How often the files are checked. Kubernetes takes up to a minute to update a mounted secret, by swapping a symbolic
 * link, which does not always notify a watcher of the folder.
 */
export const LOOK_EVERY_MS = 5_000;

export class LiveEndpoint {
  readonly #events: DeliveryEvents;
  readonly #loop: PeriodicLoop;
  #current: Endpoint;
  /** Whether the last check found files that cannot be used. */
  #isStale = false;

  constructor(endpoint: Endpoint, events: DeliveryEvents, clock: Clock) {
    this.#current = endpoint;
    this.#events = events;
    this.#loop = new PeriodicLoop(clock, async () => {
      if (endpoint.files !== null) this.#apply(await endpoint.files.look());
      return LOOK_EVERY_MS;
    });
  }

  /** A new object each time that the files have changed and are valid. */
  get current(): Endpoint {
    return this.#current;
  }

  /** Does nothing for an endpoint without files. */
  start(): void {
    if (this.#current.files !== null) this.#loop.start(LOOK_EVERY_MS);
  }

  stop(): Promise<void> {
    return this.#loop.stop();
  }

  #apply(found: FilesNow<Endpoint>): void {
    switch (found.kind) {
      case 'same':
        return;
      case 'changed':
        this.#current = found.held;
        this.#events.credentialsReloaded(found.held);
        this.#isStale = false;
        return;
      case 'unusable':
        if (!this.#isStale) this.#events.credentialsUnusable(this.#current.name, found.problem);
        this.#isStale = true;
    }
  }
}
