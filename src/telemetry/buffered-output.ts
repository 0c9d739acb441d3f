/** Buffers the log: a write is a system call, so all lines of one turn of the event loop are written together. */
import { messageOf } from '../model/errors.js';

/** The part of standard output that the log uses. */
export interface TextOutput {
  /**
   * Calls `done` when the text is written, or with an error. The error has `bytesWritten` if the number of bytes
   * written before it is known.
   */
  write(text: string, done: (error?: WriteError | null) => void): unknown;
  /** The bytes (or buffered characters) that are not read yet. */
  readonly writableLength: number;
  readonly isTTY?: boolean;
  /** The width of a terminal; changes when it is resized. */
  readonly columns?: number;
}

export interface WriteError extends Error {
  readonly bytesWritten?: number;
}

/** Receives the results of writes. */
export interface OutputListener {
  /** `lines` lines are lost, including a truncated one. */
  readonly onLost: (lines: number, reason: string) => void;
  /** All written lines have been read. */
  readonly onDrained: () => void;
}

const NEWLINE = 0x0a;

export class BufferedOutput {
  readonly #output: TextOutput;
  #listener: OutputListener | null = null;
  #buffered = '';
  /** Whether the last written line may be truncated. */
  #isCut = false;
  #isFailing = false;

  constructor(
    output: TextOutput,
    readonly isColored = false,
  ) {
    this.#output = output;
  }

  /** The width of the terminal; null when the output is none. */
  get columns(): number | null {
    return this.isTTY ? (this.#output.columns ?? null) : null;
  }

  get isTTY(): boolean {
    return this.#output.isTTY === true;
  }

  /** Whether the last write failed. */
  get isFailing(): boolean {
    return this.#isFailing;
  }

  get writableLength(): number {
    return this.#output.writableLength + this.#buffered.length;
  }

  listen(listener: OutputListener): void {
    this.#listener = listener;
  }

  /** Buffers whole lines, which are written at the end of this turn, or by `flush`. */
  write(text: string): void {
    if (this.#buffered === '') setImmediate(() => this.flush());
    this.#buffered += text;
  }

  /** Writes buffered lines now; call before an exit. */
  flush(): void {
    if (this.#buffered === '') return;
    const wasCut = this.#isCut;
    const text = wasCut ? `\n${this.#buffered}` : this.#buffered;
    this.#buffered = '';
    this.#isCut = false;
    let isPending = false;
    this.#output.write(text, (error) => {
      this.#isFailing = Boolean(error);
      if (error) this.#onFailed(Buffer.from(text), error, { wasCut, isPending });
      else if (this.#output.writableLength === 0) this.#listener?.onDrained();
    });
    isPending = this.#output.writableLength > 0;
  }

  /** `isPending`: the first try wrote at most a part, and the number of bytes written since is unknown. */
  #onFailed(
    bytes: Buffer,
    error: WriteError,
    { wasCut, isPending }: { wasCut: boolean; isPending: boolean },
  ): void {
    const { bytesWritten = 0 } = error;
    const lost = bytes.subarray(bytesWritten).filter((byte) => byte === NEWLINE).length;
    if (bytesWritten > 0) this.#isCut = bytes[bytesWritten - 1] !== NEWLINE;
    else this.#isCut = wasCut || isPending;
    // The end of an earlier truncated line is not one of these lines.
    const repaired = wasCut && bytesWritten === 0 ? 1 : 0;
    this.#listener?.onLost(lost - repaired, messageOf(error));
  }
}
