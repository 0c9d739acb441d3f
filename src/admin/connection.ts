/** One connection to the admin port: reads one request, writes one response, and closes. */
import type { Socket } from 'node:net';
import type { Clock } from '../lib/clock.js';
import {
  type Answer,
  HEAD_BYTES_MAX,
  MALFORMED,
  type Request,
  type RequestHead,
  readHead,
  responseHead,
} from './http.js';

/**
 * `asking`: the request is incomplete. `waiting`: queued for a response, or for writing its next chunk. `deciding`:
 * the response is being built. `unread`: the client is not reading the response. `answered`: the whole response is
 * written.
 */
export type Phase = 'asking' | 'waiting' | 'deciding' | 'unread' | 'answered';

/** Timeout for a complete request head. */
export const REQUEST_MS_MAX = 5_000;

/** Timeout from the complete head until the response is read: Prometheus's default `scrape_timeout`. */
export const RESPONSE_MS_MAX = 10_000;

/** The largest chunk of a response that is written at a time. */
const PIECE_BYTES_MAX = 32 * 1024;

/**
 * Limit for reads from one connection: no request has a body. A client that sends more is left waiting, because a
 * disconnected client would reconnect at once.
 */
export const READ_BYTES_MAX = 64 * 1024;

const NOTHING = Buffer.alloc(0);

/** Reads count as at least this size: many small reads cost more than a large one. */
const READ_BYTES_MIN = 1024;

export interface ConnectionParts {
  readonly socket: Socket;
  readonly clock: Clock;
  readonly answer: (request: Request) => Answer | Promise<Answer>;
  readonly onPhase: (connection: Connection, before: Phase) => void;
  /** Called when the connection has timed out; the owner closes the connection. */
  readonly onOver: (connection: Connection) => void;
  readonly onClosed: (connection: Connection) => void;
}

export class Connection {
  readonly #parts: ConnectionParts;
  #phase: Phase = 'asking';
  #head: Buffer = NOTHING;
  #readBytes = 0;
  #request: RequestHead | null = null;
  /** The unwritten part of the response; null before the response is known. */
  #rest: Buffer | null = null;
  #cancelLimit = (): void => undefined;

  constructor(parts: ConnectionParts) {
    this.#parts = parts;
    const { socket } = parts;
    this.#limitTime(REQUEST_MS_MAX);
    socket.on('data', (chunk: Buffer) => this.#read(chunk));
    socket.on('end', () => this.#onEnd());
    // A 'close' event follows.
    socket.on('error', () => undefined);
    socket.on('close', () => {
      this.#cancelLimit();
      parts.onClosed(this);
    });
  }

  get phase(): Phase {
    return this.#phase;
  }

  /** Whether the kernel has the whole response, which is then delivered even after a close. */
  get isWritten(): boolean {
    return this.#rest?.length === 0 && this.#parts.socket.writableLength === 0;
  }

  /** Responds to the request, or writes the next chunk of the response. */
  proceed(): void {
    if (this.#rest !== null) return this.#writePiece(this.#rest);
    if (this.#request === null) return;
    const { answer, socket } = this.#parts;
    const found = answer({ ...this.#request, client: socket.remoteAddress ?? '' });
    if (!(found instanceof Promise)) return this.#writePiece(this.#begin(found));
    this.#enter('deciding');
    void found.then((answer) => {
      this.#begin(answer);
      this.#enter('waiting');
    });
  }

  /** Closes immediately, and frees the unread part of an incomplete response. */
  close(): void {
    const { socket } = this.#parts;
    if (this.isWritten) socket.destroy();
    else socket.resetAndDestroy();
  }

  #enter(phase: Phase): void {
    const { socket, onPhase } = this.#parts;
    if (socket.destroyed) return;
    const before = this.#phase;
    this.#phase = phase;
    onPhase(this, before);
  }

  #limitTime(ms: number): void {
    this.#cancelLimit();
    const { clock, onOver } = this.#parts;
    this.#cancelLimit = clock.after(ms, () => onOver(this));
  }

  /** Data after the request is read to detect the end of the connection, and discarded. */
  #read(chunk: Buffer): void {
    this.#readBytes += Math.max(chunk.length, READ_BYTES_MIN);
    if (this.#readBytes > READ_BYTES_MAX) this.#parts.socket.pause();
    if (this.#phase !== 'asking') return;
    this.#head = Buffer.concat([this.#head, chunk.subarray(0, HEAD_BYTES_MAX - this.#head.length)]);
    const found = readHead(this.#head);
    if (found !== null) this.#asked(found);
  }

  #asked(found: RequestHead | Answer): void {
    this.#head = NOTHING;
    if ('status' in found) this.#begin(found);
    else this.#request = found;
    this.#limitTime(RESPONSE_MS_MAX);
    this.#enter('waiting');
  }

  /** A client that half-closes after its request still gets a response. */
  #onEnd(): void {
    if (this.#head.length > 0) this.#asked(MALFORMED);
    else if (this.#phase === 'asking' || this.#phase === 'answered') this.#parts.socket.destroy();
  }

  #begin(answer: Answer): Buffer {
    this.#parts.socket.cork();
    this.#parts.socket.write(responseHead(answer, this.#parts.clock.nowMs()));
    const body = typeof answer.body === 'string' ? Buffer.from(answer.body) : answer.body;
    this.#rest = this.#request?.method === 'HEAD' ? NOTHING : body;
    return this.#rest;
  }

  #writePiece(rest: Buffer): void {
    const { socket } = this.#parts;
    this.#rest = rest.subarray(PIECE_BYTES_MAX);
    this.#enter('unread');
    socket.write(rest.subarray(0, PIECE_BYTES_MAX), () => this.#pieceWritten());
    socket.uncork();
  }

  #pieceWritten(): void {
    const { socket } = this.#parts;
    if (socket.destroyed) return;
    if (this.#rest?.length !== 0) return this.#enter('waiting');
    this.#enter('answered');
    socket.end();
  }
}
