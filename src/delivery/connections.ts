/**
 * The connection pool of one endpoint. Each connection carries one request at a time. Between two requests it is closed
 * if it is too old, or if the endpoint's certificates have changed.
 */
import type { LookupFunction, Socket } from 'node:net';
import { Client, type Dispatcher } from 'undici';
import type { Clock } from '../lib/clock.js';
import type { Endpoint } from '../model/endpoint.js';
import { type Connector, createConnector, originOf } from './connect.js';
import type { Exchange } from './exchange.js';
import { HEAD_BYTES_MAX } from './response-reader.js';

/** How long an idle connection is kept: less than the 5 s after which many servers close it. */
export const KEEP_ALIVE_MS = 4_000;

/** Older connections are not reused, so that DNS changes take effect under load, too. */
export const CONNECTION_AGE_MS_MAX = 60_000;

/** Reads of one response without a pause. An ordinary response needs no more. */
const READS_AT_ONCE = 8;

/**
 * The pause before each further read of a response. Bytes gather in the system's buffer during the pause: a receiver
 * that sends them one by one costs the relay few reads.
 */
const READ_EVERY_MS = 100;

/** A connection that is opened on first use, and reopened if it was closed meanwhile. */
class Connection {
  readonly #client: Client;
  readonly connector: Connector;
  readonly #clock: Clock;
  #exchange: Exchange | null = null;
  #madeAtMs = Number.POSITIVE_INFINITY;
  /** Whether connecting has failed: undici's client may be unusable after that. */
  #hasFailed = false;

  constructor(origin: string, connector: Connector, clock: Clock) {
    this.connector = connector;
    this.#clock = clock;
    this.#client = new Client(origin, {
      pipelining: 1,
      allowH2: false,
      keepAliveTimeout: KEEP_ALIVE_MS,
      keepAliveMaxTimeout: KEEP_ALIVE_MS,
      maxHeaderSize: HEAD_BYTES_MAX,
      connect: (target, callback) =>
        connector(target, (...result) => {
          if (result[1] === null) this.#hasFailed = true;
          else this.#attach(result[1]);
          callback(...result);
        }),
      // The sender enforces a single time limit for the whole attempt.
      headersTimeout: 0,
      bodyTimeout: 0,
    });
  }

  get isUsable(): boolean {
    const isOld = this.#clock.monotonicMs() - this.#madeAtMs > CONNECTION_AGE_MS_MAX;
    return !this.#hasFailed && !isOld;
  }

  dispatch(options: Dispatcher.DispatchOptions, exchange: Exchange): void {
    this.#exchange = exchange;
    this.#client.dispatch(options, exchange);
  }

  /** Call only between two requests. */
  close(): Promise<void> {
    return this.#hasFailed ? this.#client.destroy() : this.#client.close();
  }

  /** Cancels the request in progress. */
  destroy(): Promise<void> {
    return this.#client.destroy();
  }

  /** Passes all bytes read to the exchange before undici's parser sees them. */
  #attach(socket: Socket): void {
    this.#madeAtMs = this.#clock.monotonicMs();
    const read = socket.read.bind(socket);
    let pause: 'none' | 'running' | 'over' = 'none';
    const endPause = () => {
      pause = 'over';
      // undici's parser resumes reading.
      if (!socket.destroyed) socket.emit('readable');
    };
    const isPaused = (exchange: Exchange) => {
      if (exchange.reads < READS_AT_ONCE || pause === 'over') return false;
      if (pause === 'none') this.#clock.after(READ_EVERY_MS, endPause);
      pause = 'running';
      return true;
    };
    socket.read = (size?: number): Buffer | null => {
      for (;;) {
        const exchange = this.#exchange?.isReading ? this.#exchange : null;
        if (exchange !== null && isPaused(exchange)) return null;
        const chunk: Buffer | null = read(size);
        if (chunk === null) return null;
        pause = 'none';
        if (exchange === null) {
          // Unsolicited data, or data beyond a limit.
          socket.destroy();
          return null;
        }
        const passed = exchange.receive(chunk);
        if (passed !== null) return passed;
      }
    };
  }
}

export class Connections {
  readonly #current: () => Endpoint;
  readonly #clock: Clock;
  readonly #lookup: LookupFunction;
  #connector: Connector;
  /** The certificates of current connections. */
  #tls: Endpoint['tls'];
  readonly #all = new Set<Connection>();
  /** A stack: the connection used last is reused first, so that the others become idle. */
  readonly #free: Connection[] = [];
  /** Requests that wait for a connection, oldest first. */
  readonly #waiting = new Map<Exchange, Dispatcher.DispatchOptions>();
  #isClosed = false;

  /** @param current returns the current version of the endpoint */
  constructor(current: () => Endpoint, clock: Clock, lookup: LookupFunction) {
    this.#current = current;
    this.#clock = clock;
    this.#lookup = lookup;
    this.#tls = current().tls;
    this.#connector = this.#createConnector();
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** Sends at most `concurrency` requests at a time; the others wait. */
  dispatch(options: Dispatcher.DispatchOptions, exchange: Exchange): void {
    if (this.#isClosed) return exchange.abort(new Error('the connections are closed'));
    const connection = this.#takeFree() ?? this.#open();
    if (connection !== null) return this.#use(connection, options, exchange);
    this.#waiting.set(exchange, options);
    void exchange.ended.then(() => this.#waiting.delete(exchange));
  }

  /** Cancels requests in progress. */
  async close(): Promise<void> {
    this.#isClosed = true;
    for (const exchange of this.#waiting.keys()) exchange.abort(new Error('closed'));
    this.#waiting.clear();
    await Promise.all(Array.from(this.#all, (connection) => connection.destroy()));
  }

  #use(connection: Connection, options: Dispatcher.DispatchOptions, exchange: Exchange): void {
    connection.dispatch(options, exchange);
    void exchange.ended.then(() => this.#release(connection));
  }

  #release(connection: Connection): void {
    if (this.#isClosed) return;
    this.#free.push(connection);
    const [next] = this.#waiting;
    if (next === undefined) return;
    const [exchange, options] = next;
    this.#waiting.delete(exchange);
    this.dispatch(options, exchange);
  }

  #takeFree(): Connection | null {
    this.#followCertificates();
    for (let one = this.#free.pop(); one !== undefined; one = this.#free.pop()) {
      if (one.connector === this.#connector && one.isUsable) return one;
      this.#all.delete(one);
      void one.close();
    }
    return null;
  }

  #open(): Connection | null {
    const { url, concurrency } = this.#current();
    if (this.#all.size >= concurrency) return null;
    const connection = new Connection(originOf(url), this.#connector, this.#clock);
    this.#all.add(connection);
    return connection;
  }

  #followCertificates(): void {
    const { tls } = this.#current();
    if (tls === this.#tls) return;
    this.#tls = tls;
    this.#connector = this.#createConnector();
  }

  #createConnector(): Connector {
    const endpoint = this.#current();
    const { timeoutMs } = endpoint;
    return createConnector(endpoint, { clock: this.#clock, lookup: this.#lookup, timeoutMs });
  }
}
