// cspell:ignore warehou refu
import { stripVTControlCharacters } from 'node:util';
import { describe, expect, it } from 'vitest';
import { deadTable } from '../../src/cli/dead-table.js';
import { toListedLetter } from '../../src/cli/dead-text.js';
import { paintFor } from '../../src/lib/terminal.js';
import { aDeadLetter } from '../support/dead-letters.js';

const NOW_MS = Date.parse('2026-11-22T08:00:00Z');
const HOSTILE = 'a\u001b[2J\u202e\nb';
const ID = `msg_${'0'.repeat(32)}`;

const row = (given: Parameters<typeof aDeadLetter>[0] = {}) =>
  toListedLetter(aDeadLetter({ agoMs: 7_200_000, ...given }, NOW_MS));

const tableOf = (width: number, colored = false) =>
  deadTable(NOW_MS, { isTerminal: true, width, paint: paintFor(colored) });
const wide = () => tableOf(Number.POSITIVE_INFINITY);

describe('the table of dead letters', () => {
  it('has a head once, then a line for each, in columns', () => {
    const table = wide();
    expect(table.lines([row()])).toBe(
      'ID     AGE  ENDPOINT  ROUTE   REASON     ATTEMPTS  KEY              LAST ERROR\n' +
        'msg_1  2h   shop      cancel  exhausted  3         order:42:unpaid  HTTP 500\n',
    );
    expect(table.lines([row()])).toMatch(/^msg_1 .*\n$/);
  });

  it('fits 80 columns with ids of full length: columns go, then values are cut', () => {
    const delivery = { id: ID, keyLabel: 'order:1234567890:unpaid', endpoint: 'warehouses' };
    const lastOutcome = 'connection_refused: connect ECONNREFUSED 127.0.0.1:8080';
    expect(tableOf(80).lines([row({ delivery, lastOutcome })])).toBe(
      'ID                                    AGE  ENDPOINT  KEY        LAST ERROR\n' +
        `${ID}  2h   warehou…  order:12…  connection_refu…\n`,
    );
    for (const width of [80, 100, 120, 160]) {
      const lines = tableOf(width)
        .lines([row({ delivery, lastOutcome }), row()])
        .split('\n');
      for (const line of lines) expect(line.length).toBeLessThanOrEqual(width);
    }
    expect(tableOf(120).lines([row()])).toContain('REASON');
  });

  it('shows that a webhook was never attempted', () => {
    expect(wide().lines([row({ attempts: 0, lastOutcome: null })])).toContain('never attempted');
    expect(wide().lines([row({ attempts: 1, lastOutcome: null })])).toContain('unknown');
  });

  it('lets nothing move the cursor or begin a line, and cuts what is too long', () => {
    const delivery = {
      id: HOSTILE,
      endpoint: HOSTILE,
      route: 'r'.repeat(500),
      keyLabel: HOSTILE.repeat(50),
    };
    const text = wide().lines([row({ delivery, lastOutcome: HOSTILE.repeat(50) })]);
    expect(text).toContain('a\\x1b[2J\\u{202e}\\x0ab');
    expect(text).toMatch(/^[\x20-\x7e…\n]*$/);
    expect(text.trim().split('\n')).toHaveLength(2);
    for (const line of text.split('\n')) expect(line.length).toBeLessThan(350);
  });

  it('shows a key as it stands in the log: its backslashes are not doubled again', () => {
    const text = wide().lines([row({ delivery: { keyLabel: 'a\\\\b\\x1b' } })]);
    expect(text).toContain(' a\\\\b\\x1b  HTTP 500\n');
  });

  it('is colored without a change of its text', () => {
    const colored = tableOf(80, true).lines([row()]);
    expect(colored).toContain('\u001b[');
    expect(stripVTControlCharacters(colored)).toBe(tableOf(80).lines([row()]));
  });
});
