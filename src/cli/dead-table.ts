/** A table of dead letters that fits the terminal. Pure. */
import { escapeUnprintable } from '../lib/printable.js';
import { formatAge, type ListedLetter, lastErrorOf } from './dead-text.js';
import type { Screen } from './screen.js';

interface Column {
  readonly title: string;
  /** Longer values are truncated; `dead show` and `--json` print them in full. */
  readonly charsMax: number;
  /** A terminal that is too narrow may truncate values to this length; null: never. */
  readonly charsMin: number | null;
  /** A terminal that is too narrow shows no column with a rank, the highest rank first. */
  readonly rank: number;
  readonly cell: (row: ListedLetter, nowMs: number) => string;
}

const NEEDED = 0;

const COLUMNS: readonly Column[] = [
  { title: 'ID', charsMax: 64, charsMin: null, rank: NEEDED, cell: ({ id }) => id },
  {
    title: 'AGE',
    charsMax: 6,
    charsMin: null,
    rank: NEEDED,
    cell: ({ died_at }, nowMs) => formatAge(nowMs - Date.parse(died_at)),
  },
  { title: 'ENDPOINT', charsMax: 32, charsMin: 8, rank: NEEDED, cell: ({ endpoint }) => endpoint },
  { title: 'ROUTE', charsMax: 32, charsMin: null, rank: 3, cell: ({ route }) => route },
  { title: 'REASON', charsMax: 16, charsMin: null, rank: 1, cell: ({ reason }) => reason },
  {
    title: 'ATTEMPTS',
    charsMax: 8,
    charsMin: null,
    rank: 2,
    cell: ({ attempts }) => String(attempts),
  },
  { title: 'KEY', charsMax: 64, charsMin: 8, rank: NEEDED, cell: ({ key }) => key },
  { title: 'LAST ERROR', charsMax: 64, charsMin: 15, rank: NEEDED, cell: lastErrorOf },
];

/** Between columns. */
const GAP = '  ';

interface Shown {
  readonly column: Column;
  width: number;
}

/** Its columns grow to the widest value printed so far, as far as the terminal allows. */
export class Table {
  readonly #nowMs: number;
  readonly #screen: Screen;
  #shown: readonly Shown[] = [];

  constructor(nowMs: number, screen: Screen) {
    this.#nowMs = nowMs;
    this.#screen = screen;
  }

  lines(rows: readonly ListedLetter[]): string {
    const isFirst = this.#shown.length === 0;
    if (isFirst) this.#shown = COLUMNS.map((column) => ({ column, width: column.title.length }));
    for (const shown of this.#shown) {
      const lengths = rows.map(
        (row) => this.#cell(shown.column, row, Number.POSITIVE_INFINITY).length,
      );
      shown.width = Math.max(shown.width, ...lengths);
    }
    this.#fit();
    const head = this.#line(({ title }) => title);
    const lines = rows.map((row) => this.#line((column, width) => this.#cell(column, row, width)));
    const { paint } = this.#screen;
    return [...(isFirst ? [paint('bold', head)] : []), ...lines]
      .map((line) => `${line}\n`)
      .join('');
  }

  #cell({ cell, charsMax }: Column, row: ListedLetter, width: number): string {
    return escapeUnprintable(cell(row, this.#nowMs), Math.min(charsMax, width));
  }

  /** Leaves columns out, then truncates values, until the table fits or nothing more can go. */
  #fit(): void {
    const { width } = this.#screen;
    const excess = () =>
      this.#shown.reduce((sum, shown) => sum + shown.width + GAP.length, -GAP.length) - width;
    while (excess() > 0) {
      const last = this.#shown.reduce((one, other) =>
        other.column.rank > one.column.rank ? other : one,
      );
      if (last.column.rank === NEEDED) break;
      this.#shown = this.#shown.filter((shown) => shown !== last);
    }
    while (excess() > 0) {
      const spare = ({ column, width: chars }: Shown) => chars - (column.charsMin ?? chars);
      const widest = this.#shown.reduce((one, other) => (spare(other) > spare(one) ? other : one));
      if (spare(widest) <= 0) return;
      widest.width -= 1;
    }
  }

  #line(cell: (column: Column, width: number) => string): string {
    return this.#shown
      .map(({ column, width }) => cell(column, width).padEnd(width))
      .join(GAP)
      .trimEnd();
  }
}
