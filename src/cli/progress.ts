/** A progress bar on standard error, where that is a terminal. */
import { countText } from '../server/wording.js';
import type { CliContext } from './context.js';

const BAR_CHARS = 30;

/** Returns to the start of the line, and clears it. */
const CLEAR_LINE = '\r\u001b[2K';

export class Progress {
  readonly #stderr: CliContext['stderr'];
  readonly #total: number;
  readonly #verb: string;
  #count = 0;
  #isShown = false;

  /** `verb`: what happens to each of `total` things, such as `replayed`. */
  constructor({ stderr }: Pick<CliContext, 'stderr'>, total: number, verb: string) {
    this.#stderr = stderr;
    this.#total = total;
    this.#verb = verb;
  }

  /** Counts things that are dealt with, whether they were acted on or not. */
  advance(count: number): void {
    this.#count += count;
    if (this.#stderr.isTTY !== true || this.#total === 0) return;
    const share = Math.min(1, this.#count / this.#total);
    const bar = '#'.repeat(Math.floor(share * BAR_CHARS)).padEnd(BAR_CHARS, '.');
    const counts = `${countText(this.#count)} of ${countText(this.#total)}`;
    const text = `[${bar}] ${Math.floor(share * 100)}%  ${counts} ${this.#verb}`;
    this.#stderr.write(CLEAR_LINE + text);
    this.#isShown = true;
  }

  /** Removes the bar; other output may follow. */
  end(): void {
    if (this.#isShown) this.#stderr.write(CLEAR_LINE);
    this.#isShown = false;
  }
}
