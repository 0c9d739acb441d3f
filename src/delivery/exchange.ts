/** One request on its way and its answer, told by undici step by step; without a stream in between. */
import type { Dispatcher } from 'undici';
import { ResponseHeadError, ResponseReader } from './response-reader.js';

/** What an answer begins with. */
interface AnswerHead {
  readonly status: number;
  /** The header Retry-After. */
  readonly retryAfter: string | undefined;
  /** The header Location. */
  readonly location: string | undefined;
  /** The header Date: by the receiver's clock. */
  readonly date: string | undefined;
}

export interface Answer extends AnswerHead {
  /** The beginning of the body: what was read of it. */
  readonly bodyChunks: readonly Buffer[];
}

/** How an exchange ended. */
export type Ending =
  | { readonly kind: 'answered'; readonly answer: Answer; readonly error: null }
  /** `answer`: what was read of one, at least its status line; null when none was. */
  | {
      readonly kind: 'failed';
      readonly error: unknown;
      readonly answer: Answer | null;
      /** Whether anything was read at all. */
      readonly hasBegun: boolean;
    };

/** To be dispatched once. `ended` resolves, once, whatever happens; nothing here throws. */
export class Exchange implements Dispatcher.DispatchHandler {
  readonly ended: Promise<Ending>;
  #end: (ending: Ending) => void = () => undefined;
  /** Null until the request is on a connection. */
  #controller: Dispatcher.DispatchController | null = null;
  #abortedFor: Error | null = null;
  /** Null until the request is on a connection. */
  #reader: ResponseReader | null = null;
  /** Null until the head of the answer is there. */
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

  /** Whether bytes of its connection may belong to it: not before the request, nor after the end. */
  get isReading(): boolean {
    return this.#reader !== null && !this.#reader.isOverLimit && !this.#hasEnded;
  }

  /**
   * Breaks it off, and closes its connection. It has ended then, whatever undici does: one that
   * waits for a connection is not sent should it ever get one.
   */
  abort(reason: Error): void {
    this.#abortedFor ??= reason;
    this.#controller?.abort(reason);
    this.onResponseError(null, reason);
  }

  /** How often bytes have been read for it. */
  get reads(): number {
    return this.#reads;
  }

  /** Bytes of its connection, while it is reading; returns what undici is to see of them. */
  received(chunk: Buffer): Buffer | null {
    this.#reads += 1;
    const passed = this.#reader?.pass(chunk) ?? null;
    // Not at once: undici's parser comes first, for what it is to see.
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
    // An informational one that has passed.
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
    this.#answered();
  }

  onResponseError(_: unknown, error: unknown): void {
    const answer = this.#answer();
    this.#end({ kind: 'failed', error, answer, hasBegun: this.#reader?.hasBegun ?? false });
  }

  /** The response is longer than a limit. With its head complete, nothing is wrong with it. */
  #stopReading(): void {
    const error = new ResponseHeadError(this.#reader?.status !== null);
    if (this.#head !== null) this.#answered();
    this.#controller?.abort(error);
    this.onResponseError(null, error);
  }

  #answered(): void {
    const answer = this.#answer();
    if (answer !== null) this.#end({ kind: 'answered', answer, error: null });
  }

  /** What is known of it: with a malformed head, no more than its status. */
  #answer(): Answer | null {
    const status = this.#reader?.status ?? null;
    const unread = { retryAfter: undefined, location: undefined, date: undefined };
    const head = this.#head ?? (status === null ? null : { status, ...unread });
    return head === null ? null : { ...head, bodyChunks: this.#chunks };
  }
}
