/** The table of dead letters. Pure. */
import { formatAge, type ListedLetter, lastErrorOf } from './dead-text.js';
import type { Screen } from './screen.js';
import { type Column, NEEDED, Table } from './table.js';

/** `dead show` and `--json` print every value in full. */
const columnsAt = (nowMs: number): readonly Column<ListedLetter>[] => [
  { title: 'ID', charsMax: 64, charsMin: null, rank: NEEDED, cell: ({ id }) => id },
  {
    title: 'AGE',
    charsMax: 6,
    charsMin: null,
    rank: NEEDED,
    cell: ({ died_at }) => formatAge(nowMs - Date.parse(died_at)),
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

export function deadTable(nowMs: number, screen: Screen): Table<ListedLetter> {
  return new Table(columnsAt(nowMs), screen);
}
