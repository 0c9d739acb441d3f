/** Where the log goes: a write is a system call, so all that comes in one turn is written at once. */

/** Standard output, as far as it is written to. */
export interface TextOutput {
  write(text: string): unknown;
  /** Bytes (or, of what is gathered, characters) written to it and not yet read. */
  readonly writableLength: number;
  readonly isTTY?: boolean;
}

export class GatheredOutput implements TextOutput {
  readonly #output: TextOutput;
  #gathered = '';

  constructor(output: TextOutput) {
    this.#output = output;
  }

  get isTTY(): boolean {
    return this.#output.isTTY === true;
  }

  get writableLength(): number {
    return this.#output.writableLength + this.#gathered.length;
  }

  /** Written at the end of this turn, or by `flush`. */
  write(text: string): void {
    if (this.#gathered === '') setImmediate(() => this.flush());
    this.#gathered += text;
  }

  /** Writes what is gathered now; before an exit, it would be lost. */
  flush(): void {
    if (this.#gathered === '') return;
    const text = this.#gathered;
    this.#gathered = '';
    this.#output.write(text);
  }
}
