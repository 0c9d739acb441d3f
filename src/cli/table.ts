/** A table that fits the terminal. Pure. */
import { escapeUnprintable } from '../lib/printable.js';
import type { Screen } from './screen.js';

export interface Column<Row> {
  readonly title: string;
  /** Longer values are truncated. */
  readonly charsMax: number;
  /** A terminal that is too narrow may truncate values to this length; null: never. */
  readonly charsMin: number | null;
  /** A terminal that is too narrow shows no column with a rank, the highest rank first. */
  readonly rank: number;
  readonly cell: (row: Row) => string;
}

/** The rank of a column that is never left out. */
export const NEEDED = 0;

/** Between columns. */
const GAP = '  ';

interface Shown<Row> {
  readonly column: Column<Row>;
  width: number;
}

/** Its columns grow to the widest value printed so far, as far as the terminal allows. */
export class Table<Row> {
  readonly #columns: readonly Column<Row>[];
  readonly #screen: Screen;
  #shown: readonly Shown<Row>[] = [];

  constructor(columns: readonly Column<Row>[], screen: Screen) {
    this.#columns = columns;
    this.#screen = screen;
  }

  lines(rows: readonly Row[]): string {
    const isFirst = this.#shown.length === 0;
    if (isFirst)
      this.#shown = this.#columns.map((column) => ({ column, width: column.title.length }));
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

  #cell({ cell, charsMax }: Column<Row>, row: Row, width: number): string {
    return escapeUnprintable(cell(row), Math.min(charsMax, width));
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
      const spare = ({ column, width: chars }: Shown<Row>) => chars - (column.charsMin ?? chars);
      const widest = this.#shown.reduce((one, other) => (spare(other) > spare(one) ? other : one));
      if (spare(widest) <= 0) return;
      widest.width -= 1;
    }
  }

  #line(cell: (column: Column<Row>, width: number) => string): string {
    return this.#shown
      .map(({ column, width }) => cell(column, width).padEnd(width))
      .join(GAP)
      .trimEnd();
  }
}
