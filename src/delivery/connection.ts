/**
 * One connection of an endpoint with the request on it. The connection itself receives undici's callbacks, so that a
 * request creates no handler, promise or stream. Its rules:
 *
 * 1. It carries one request at a time. `begin` starts one; its recipient is called once, in every case.
 * 2. It belongs to one request from `begin` until the recipient is called. Bytes at any other time close it.
 * 3. After `abort` it is spent, and never used again: a late callback of undici cannot concern another request.
 * 4. The headers of a response are parsed only if the caller asks for them.
 *
 * It is opened on first use, and reopened if it was closed meanwhile.
 */
import type { Socket } from 'node:net';
import { Client, type Dispatcher, util } from 'undici';
import type { Clock } from '../lib/clock.js';
import type { Connector } from './connect.js';
import { HEAD_BYTES_MAX, ResponseHeadError, ResponseReader } from './response-reader.js';

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

/** A response, or the part of it that was read: at least its status. */
export class Answer {
  readonly status: number;
  /** The part of the body that was read. */
  readonly bodyChunks: readonly Buffer[];
  /** Names and values in turn; empty if the head is malformed. */
  readonly #rawHeaders: readonly Buffer[];

  constructor(status: number, rawHeaders: readonly Buffer[], bodyChunks: readonly Buffer[]) {
    this.status = status;
    this.bodyChunks = bodyChunks;
    this.#rawHeaders = rawHeaders;
  }

  /** Parses the headers; their names are in lower case. */
  headers(): Readonly<Record<string, string | string[]>> {
    return util.parseHeaders(this.#rawHeaders as Buffer[]);
  }
}

/** Receives the end of a request. */
export interface Recipient<Self extends Recipient<Self>> {
  /**
   * `answer` is null without a final status. `error` is null if the response is complete, or as long as the relay reads
   * one. Must not throw.
   */
  ended(connection: Connection<Self>, answer: Answer | null, error: unknown): void;
}

const NOTHING: readonly never[] = [];

export class Connection<Its extends Recipient<Its>> implements Dispatcher.DispatchHandler {
  readonly connector: Connector;
  readonly #client: Client;
  readonly #clock: Clock;
  readonly #reader = new ResponseReader();
  #openedAtMs = Number.POSITIVE_INFINITY;
  /** Whether connecting has failed: undici's client may be unusable after that. */
  #hasFailed = false;
  #isSpent = false;
  #recipient: Its | null = null;
  /** Whether the request is on the connection. */
  #isSent = false;
  #rawHeaders: readonly Buffer[] | null = null;
  #chunks: Buffer[] | null = null;
  /** The number of reads of the response. */
  #reads = 0;

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

  /** Whether another request may begin, once there is none in progress. */
  get isUsable(): boolean {
    const isOld = this.#clock.monotonicMs() - this.#openedAtMs > CONNECTION_AGE_MS_MAX;
    return !this.#hasFailed && !this.#isSpent && !isOld && !this.#reader.isOverLimit;
  }

  /** The recipient of the request in progress; null: there is none. */
  get recipient(): Its | null {
    return this.#recipient;
  }

  /** Whether any byte of a response to the last request was read. */
  get hasBegun(): boolean {
    return this.#reader.hasBegun;
  }

  begin(options: Dispatcher.DispatchOptions, recipient: Its): void {
    this.#recipient = recipient;
    this.#isSent = false;
    this.#rawHeaders = null;
    this.#chunks = null;
    this.#reads = 0;
    this.#reader.reset();
    this.#client.dispatch(options, this);
  }

  /** Ends the request in progress now, whatever undici does. A request that was not sent yet is never sent. */
  abort(reason: Error): void {
    this.#isSpent = true;
    this.#fail(reason);
    void this.#client.destroy(reason);
  }

  /** Call only between two requests. */
  close(): Promise<void> {
    return this.#hasFailed || this.#isSpent ? this.#client.destroy() : this.#client.close();
  }

  onConnect(): void {
    this.#isSent = true;
  }

  onHeaders(status: number, rawHeaders: Buffer[]): boolean {
    // An informational response that was passed on.
    if (status >= 200) this.#rawHeaders = rawHeaders;
    return true;
  }

  onData(chunk: Buffer): boolean {
    this.#chunks ??= [];
    this.#chunks.push(chunk);
    return true;
  }

  onComplete(): void {
    if (this.#rawHeaders !== null) this.#end(this.#answer(), null);
  }

  onError(error: Error): void {
    this.#fail(error);
  }

  #fail(error: unknown): void {
    this.#end(this.#answer(), error);
  }

  #end(answer: Answer | null, error: unknown): void {
    const recipient = this.#recipient;
    this.#recipient = null;
    recipient?.ended(this, answer, error);
  }

  /** The response so far; with a malformed head only its status. */
  #answer(): Answer | null {
    const { status } = this.#reader;
    if (status === null) return null;
    return new Answer(status, this.#rawHeaders ?? NOTHING, this.#chunks ?? NOTHING);
  }

  /** At a limit. A response with a complete head counts. */
  #stopReading(): void {
    const error = new ResponseHeadError(this.#reader.status !== null);
    if (this.#rawHeaders !== null) this.#end(this.#answer(), null);
    this.abort(error);
  }

  /** Whether bytes of the connection belong to the request: neither before it nor after its end. */
  get #isReading(): boolean {
    return this.#recipient !== null && this.#isSent && !this.#reader.isOverLimit;
  }

  /** Reads all bytes before undici's parser sees them. */
  #attach(socket: Socket): void {
    this.#openedAtMs = this.#clock.monotonicMs();
    const read = socket.read.bind(socket);
    let pause: 'none' | 'running' | 'over' = 'none';
    const endPause = () => {
      pause = 'over';
      // undici's parser resumes reading.
      if (!socket.destroyed) socket.emit('readable');
    };
    const isPaused = () => {
      if (this.#reads < READS_AT_ONCE || pause === 'over') return false;
      if (pause === 'none') this.#clock.after(READ_EVERY_MS, endPause);
      pause = 'running';
      return true;
    };
    socket.read = (size?: number): Buffer | null => {
      for (;;) {
        if (this.#isReading && isPaused()) return null;
        const chunk: Buffer | null = read(size);
        if (chunk === null) return null;
        pause = 'none';
        if (!this.#isReading) {
          // Unsolicited data, or data beyond a limit.
          socket.destroy();
          return null;
        }
        this.#reads += 1;
        const passed = this.#reader.pass(chunk);
        // In a microtask: undici's parser first handles the bytes that were passed on.
        if (this.#reader.isOverLimit) queueMicrotask(() => this.#stopReading());
        if (passed !== null) return passed;
      }
    };
  }
}
