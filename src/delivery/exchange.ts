/** One request on its way and its answer, told by undici step by step; without a stream in between. */
import type { Dispatcher } from 'undici';
import { ResponseStart } from './response-start.js';

/** What is read of an answer's body; the connection is closed on anything longer. */
export const ANSWER_BYTES_MAX = 4 * 1024;

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
  /** Of the body's beginning; what goes beyond ANSWER_BYTES_MAX is left to be cut. */
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
  #start: ResponseStart | null = null;
  /** Null until the head of the answer is there. */
  #head: AnswerHead | null = null;
  readonly #chunks: Buffer[] = [];
  #bytes = 0;

  constructor() {
    this.ended = new Promise((resolve) => {
      this.#end = resolve;
    });
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

  /** What has been read of its connection; returns what undici is to see of it. */
  received(chunk: Buffer): Buffer | null {
    return this.#start === null ? chunk : this.#start.pass(chunk);
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller;
    this.#start = new ResponseStart();
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

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    this.#chunks.push(chunk);
    this.#bytes += chunk.length;
    if (this.#bytes < ANSWER_BYTES_MAX) return;
    this.#answered();
    // Not at once: undici's parser is at work, and goes no further when it is told to pause.
    controller.pause();
    queueMicrotask(() => controller.abort(new Error('no more of the answer is read')));
  }

  onResponseEnd(): void {
    this.#answered();
  }

  onResponseError(_: unknown, error: unknown): void {
    const answer = this.#answer();
    this.#end({ kind: 'failed', error, answer, hasBegun: this.#start?.hasBegun ?? false });
  }

  #answered(): void {
    const answer = this.#answer();
    if (answer !== null) this.#end({ kind: 'answered', answer, error: null });
  }

  /** What is known of it: with a malformed head, no more than its status. */
  #answer(): Answer | null {
    const status = this.#start?.status ?? null;
    const unread = { retryAfter: undefined, location: undefined, date: undefined };
    const head = this.#head ?? (status === null ? null : { status, ...unread });
    return head === null ? null : { ...head, bodyChunks: this.#chunks };
  }
}
