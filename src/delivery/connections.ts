/**
 * The connections of one endpoint that have no request. A connection is closed between two requests if it is too old,
 * or if the endpoint has another address, proxy or certificate by now.
 */
import type { LookupFunction } from 'node:net';
import type { Clock } from '../lib/clock.js';
import type { Endpoint } from '../model/endpoint.js';
import { type Connector, createConnector, originOf } from './connect.js';
import { Connection, type Recipient } from './connection.js';
import { isSameTarget } from './endpoint-changes.js';

export class Connections<Its extends Recipient<Its>> {
  readonly #current: () => Endpoint;
  readonly #clock: Clock;
  readonly #lookup: LookupFunction;
  #connector: Connector;
  /** The version of the endpoint that current connections serve. */
  #served: Endpoint;
  /** A stack: the connection used last is reused first, so that the others become idle. */
  readonly #free: Connection<Its>[] = [];

  /** @param current returns the current version of the endpoint */
  constructor(current: () => Endpoint, clock: Clock, lookup: LookupFunction) {
    this.#current = current;
    this.#clock = clock;
    this.#lookup = lookup;
    this.#served = current();
    this.#connector = this.#createConnector();
  }

  /** A connection for one request. The caller limits how many there are. */
  take(): Connection<Its> {
    this.#follow();
    for (let one = this.#free.pop(); one !== undefined; one = this.#free.pop()) {
      if (one.connector === this.#connector && one.isUsable) return one;
      void one.close();
    }
    return new Connection<Its>(originOf(this.#current().url), this.#connector, this.#clock);
  }

  /** Call once the request on the connection has ended. */
  release(connection: Connection<Its>): void {
    if (connection.isUsable) this.#free.push(connection);
    else void connection.close();
  }

  async close(): Promise<void> {
    await Promise.all(this.#free.splice(0).map((connection) => connection.close()));
  }

  #follow(): void {
    const now = this.#current();
    if (now === this.#served) return;
    const isSame = isSameTarget(this.#served, now);
    this.#served = now;
    if (!isSame) this.#connector = this.#createConnector();
  }

  #createConnector(): Connector {
    const endpoint = this.#current();
    const { timeoutMs } = endpoint;
    return createConnector(endpoint, { clock: this.#clock, lookup: this.#lookup, timeoutMs });
  }
}
