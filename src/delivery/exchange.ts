/** One request on its way and its answer, told by undici step by step; without a stream in between. */
import type { Dispatcher } from 'undici';

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
  | { readonly kind: 'answered'; readonly answer: Answer }
  /** `status`: of the answer that had begun; null when none had. */
  | { readonly kind: 'failed'; readonly error: unknown; readonly status: number | null };

/** To be dispatched once. `ended` resolves, once, whatever happens; nothing here throws. */
export class Exchange implements Dispatcher.DispatchHandler {
  readonly ended: Promise<Ending>;
  #end: (ending: Ending) => void = () => undefined;
  /** Null until the request is on a connection. */
  #controller: Dispatcher.DispatchController | null = null;
  #abortedFor: Error | null = null;
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

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller;
    if (this.#abortedFor !== null) controller.abort(this.#abortedFor);
  }

  onResponseStart(
    _: Dispatcher.DispatchController,
    status: number,
    headers: Record<string, string | string[] | undefined>,
  ): void {
    // What comes before the answer, such as 103 Early Hints.
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
    this.#end({ kind: 'failed', error, status: this.#head?.status ?? null });
  }

  #answered(): void {
    if (this.#head === null) return;
    this.#end({ kind: 'answered', answer: { ...this.#head, bodyChunks: this.#chunks } });
  }
}
