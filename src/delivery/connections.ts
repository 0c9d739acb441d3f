/** The connections to one endpoint, replaced when its certificates are. */
import type { LookupFunction } from 'node:net';
import { Pool } from 'undici';
import type { Clock } from '../clock.js';
import type { Endpoint } from '../endpoint.js';
import { createConnector } from './connect.js';

/** How long an idle connection is kept: less than the 5 s after which many servers close it. */
export const KEEP_ALIVE_MS = 4_000;

/** Never more connections than its `concurrency`. */
function openPool(endpoint: Endpoint, clock: Clock, lookup: LookupFunction): Pool {
  const { url, concurrency, timeoutMs } = endpoint;
  return new Pool(url.origin, {
    connections: concurrency,
    pipelining: 1,
    allowH2: false,
    keepAliveTimeout: KEEP_ALIVE_MS,
    keepAliveMaxTimeout: KEEP_ALIVE_MS,
    connect: createConnector(endpoint, { clock, lookup, timeoutMs }),
    // One limit is for all of an attempt, and the sender's to keep.
    headersTimeout: 0,
    bodyTimeout: 0,
  });
}

export class Connections {
  readonly #current: () => Endpoint;
  readonly #clock: Clock;
  readonly #lookup: LookupFunction;
  #pool: Pool;
  /** The certificates of its connections. */
  #tls: Endpoint['tls'];
  /** With those that end with what is under way on them. */
  readonly #pools = new Set<Pool>();
  #isClosed = false;

  /** @param current the endpoint as it is now */
  constructor(current: () => Endpoint, clock: Clock, lookup: LookupFunction) {
    this.#current = current;
    this.#clock = clock;
    this.#lookup = lookup;
    this.#tls = current().tls;
    this.#pool = this.#open();
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** With the certificates that the endpoint has now. */
  pool(): Pool {
    const { tls } = this.#current();
    if (tls === this.#tls || this.#isClosed) return this.#pool;
    const old = this.#pool;
    void old.close().then(() => this.#pools.delete(old));
    this.#tls = tls;
    this.#pool = this.#open();
    return this.#pool;
  }

  /** Breaks off what is under way. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await Promise.all(Array.from(this.#pools, (pool) => pool.destroy()));
  }

  #open(): Pool {
    const pool = openPool(this.#current(), this.#clock, this.#lookup);
    this.#pools.add(pool);
    return pool;
  }
}
