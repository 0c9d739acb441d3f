/** Where the log goes: a write is a system call, so all that comes in one turn is written at once. */
import { messageOf } from '../model/errors.js';

/** Standard output, as far as it is written to. */
export interface TextOutput {
  /**
   * Calls `done` when the text is written, or with the error. That has `bytesWritten` where it is
   * known how much was written before.
   */
  write(text: string, done: (error?: WriteError | null) => void): unknown;
  /** Bytes (or, of what is gathered, characters) written to it and not yet read. */
  readonly writableLength: number;
  readonly isTTY?: boolean;
}

export interface WriteError extends Error {
  readonly bytesWritten?: number;
}

/** Receives the outcome of writes. */
export interface OutputListener {
  /** So many lines are lost, the one that is cut among them. */
  readonly onLost: (lines: number, reason: string) => void;
  /** All that was written has been taken. */
  readonly onDrained: () => void;
}

const NEWLINE = 0x0a;

export class BufferedOutput {
  readonly #output: TextOutput;
  #listener: OutputListener | null = null;
  #gathered = '';
  /** Whether the last line that was written may lack its end. */
  #isCut = false;
  #isFailing = false;

  constructor(output: TextOutput) {
    this.#output = output;
  }

  get isTTY(): boolean {
    return this.#output.isTTY === true;
  }

  /** Whether the last write failed. */
  get isFailing(): boolean {
    return this.#isFailing;
  }

  get writableLength(): number {
    return this.#output.writableLength + this.#gathered.length;
  }

  listen(listener: OutputListener): void {
    this.#listener = listener;
  }

  /** Whole lines, written at the end of this turn, or by `flush`. */
  write(text: string): void {
    if (this.#gathered === '') setImmediate(() => this.flush());
    this.#gathered += text;
  }

  /** Writes what is gathered now; before an exit, it would be lost. */
  flush(): void {
    if (this.#gathered === '') return;
    const wasCut = this.#isCut;
    const text = wasCut ? `\n${this.#gathered}` : this.#gathered;
    this.#gathered = '';
    this.#isCut = false;
    let isPending = false;
    this.#output.write(text, (error) => {
      this.#isFailing = Boolean(error);
      if (error) this.#failed(Buffer.from(text), error, { wasCut, isPending });
      else if (this.#output.writableLength === 0) this.#listener?.onDrained();
    });
    isPending = this.#output.writableLength > 0;
  }

  /** `isPending`: the first try has written a part at most, and nobody knows how much since. */
  #failed(
    bytes: Buffer,
    error: WriteError,
    { wasCut, isPending }: { wasCut: boolean; isPending: boolean },
  ): void {
    const { bytesWritten = 0 } = error;
    const lost = bytes.subarray(bytesWritten).filter((byte) => byte === NEWLINE).length;
    if (bytesWritten > 0) this.#isCut = bytes[bytesWritten - 1] !== NEWLINE;
    else this.#isCut = wasCut || isPending;
    // The end of a line that was cut before is none of these lines.
    const repaired = wasCut && bytesWritten === 0 ? 1 : 0;
    this.#listener?.onLost(lost - repaired, messageOf(error));
  }
}
