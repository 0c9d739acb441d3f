/** One request and its response, as callbacks of undici; no streams. */
import type { Dispatcher } from 'undici';
import { ResponseHeadError, ResponseReader } from './response-reader.js';

/** Status and headers of a response. */
interface AnswerHead {
  readonly status: number;
  /** The header Retry-After. */
  readonly retryAfter: string | undefined;
  /** The header Location. */
  readonly location: string | undefined;
  /** The header Date, by the receiver's clock. */
  readonly date: string | undefined;
}

export interface Answer extends AnswerHead {
  /** The part of the body that was read. */
  readonly bodyChunks: readonly Buffer[];
}

/** How an exchange ended. */
export type Ending =
  | { readonly kind: 'answered'; readonly answer: Answer; readonly error: null }
  /** `answer`: the part that was read, at least the status line; null: none. */
  | {
      readonly kind: 'failed';
      readonly error: unknown;
      readonly answer: Answer | null;
      /** Whether any byte was read. */
      readonly hasBegun: boolean;
    };

/** Dispatch an exchange once. `ended` resolves once, in every case; no method throws. */
export class Exchange implements Dispatcher.DispatchHandler {
  readonly ended: Promise<Ending>;
  #end: (ending: Ending) => void = () => undefined;
  /** Null until the request is on a connection. */
  #controller: Dispatcher.DispatchController | null = null;
  #abortedFor: Error | null = null;
  /** Null until the request is on a connection. */
  #reader: ResponseReader | null = null;
  /** Null until the response's head is complete. */
  #head: AnswerHead | null = null;
  readonly #chunks: Buffer[] = [];
  #reads = 0;
  #hasEnded = false;

  constructor() {
    this.ended = new Promise((resolve) => {
      this.#end = (ending) => {
        this.#hasEnded = true;
        resolve(ending);
      };
    });
  }

  /** Whether bytes of the connection belong to this exchange: neither before the request nor after the end. */
  get isReading(): boolean {
    return this.#reader !== null && !this.#reader.isOverLimit && !this.#hasEnded;
  }

  /**
   * Cancels the request, and closes its connection. The exchange has then ended, whatever undici does: a request that
   * waits for a connection is not sent.
   */
  abort(reason: Error): void {
    this.#abortedFor ??= reason;
    this.#controller?.abort(reason);
    this.onResponseError(null, reason);
  }

  /** How many reads this exchange has had. */
  get reads(): number {
    return this.#reads;
  }

  /** Takes bytes of the connection while reading; returns those for undici. */
  receive(chunk: Buffer): Buffer | null {
    this.#reads += 1;
    const passed = this.#reader?.pass(chunk) ?? null;
    // In a microtask: undici's parser first handles the bytes that were passed on.
    if (this.#reader?.isOverLimit) queueMicrotask(() => this.#stopReading());
    return passed;
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller;
    this.#reader = new ResponseReader();
    if (this.#abortedFor !== null) controller.abort(this.#abortedFor);
  }

  onResponseStart(
    _: Dispatcher.DispatchController,
    status: number,
    headers: Record<string, string | string[] | undefined>,
  ): void {
    // An informational response that was passed on.
    if (status < 200) return;
    const only = (value: string | string[] | undefined) =>
      Array.isArray(value) ? value[0] : value;
    this.#head = {
      status,
      retryAfter: only(headers['retry-after']),
      location: only(headers.location),
      date: only(headers.date),
    };
  }

  onResponseData(_: Dispatcher.DispatchController, chunk: Buffer): void {
    this.#chunks.push(chunk);
  }

  onResponseEnd(): void {
    this.#succeed();
  }

  onResponseError(_: unknown, error: unknown): void {
    const answer = this.#answer();
    this.#end({ kind: 'failed', error, answer, hasBegun: this.#reader?.hasBegun ?? false });
  }

  /** Ends at a limit. A response with a complete head counts as answered. */
  #stopReading(): void {
    const error = new ResponseHeadError(this.#reader?.status !== null);
    if (this.#head !== null) this.#succeed();
    this.#controller?.abort(error);
    this.onResponseError(null, error);
  }

  #succeed(): void {
    const answer = this.#answer();
    if (answer !== null) this.#end({ kind: 'answered', answer, error: null });
  }

  /** The response so far; with a malformed head only its status. */
  #answer(): Answer | null {
    const status = this.#reader?.status ?? null;
    const unread = { retryAfter: undefined, location: undefined, date: undefined };
    const head = this.#head ?? (status === null ? null : { status, ...unread });
    return head === null ? null : { ...head, bodyChunks: this.#chunks };
  }
}
