import { describe, expect, it } from 'vitest';
import {
  details,
  formatAge,
  jsonLines,
  jsonOf,
  Table,
  Tally,
  toListedLetter,
} from '../../src/cli/dead-text.js';
import { aDeadLetter } from '../support/dead-letters.js';

const NOW_MS = Date.parse('2026-11-22T08:00:00Z');
const HOSTILE = 'a\u001b[2J\u202e\nb';

const letter = aDeadLetter(
  {
    agoMs: 7_200_000,
    delivery: { path: '/orders/42', expiredAtMs: Date.parse('2026-11-22T06:00:10Z') },
  },
  NOW_MS,
);

describe('the table of dead letters', () => {
  it('has a head once, then a line for each, in columns', () => {
    const table = new Table(NOW_MS);
    expect(table.lines([toListedLetter(letter)])).toBe(
      'ID     DIED AT               AGE  ENDPOINT  ROUTE   REASON     ATTEMPTS  KEY\n' +
        'msg_1  2026-11-22T06:00:00Z  2h   shop      cancel  exhausted  3         order:42:unpaid\n',
    );
    expect(table.lines([toListedLetter(letter)])).toMatch(/^msg_1 .*\n$/);
  });

  it('lets nothing move the cursor or begin a line, and cuts what is too long', () => {
    const delivery = {
      id: HOSTILE,
      endpoint: HOSTILE,
      route: 'r'.repeat(500),
      keyLabel: HOSTILE.repeat(50),
    };
    const text = new Table(NOW_MS).lines([toListedLetter(aDeadLetter({ delivery }, NOW_MS))]);
    expect(text).toContain('a\\x1b[2J\\u{202e}\\x0ab');
    expect(text).toMatch(/^[\x20-\x7e…\n]*$/);
    expect(text.trim().split('\n')).toHaveLength(2);
    for (const line of text.split('\n')) expect(line.length).toBeLessThan(300);
  });

  it('shows a key as it stands in the log: its backslashes are not doubled again', () => {
    const delivery = { keyLabel: 'a\\\\b\\x1b' };
    const text = new Table(NOW_MS).lines([toListedLetter(aDeadLetter({ delivery }, NOW_MS))]);
    expect(text).toContain(' a\\\\b\\x1b\n');
  });
});

describe('a dead letter as JSON', () => {
  it('has names that programs can rely on', () => {
    expect(JSON.parse(jsonLines([toListedLetter(letter)]))).toEqual({
      id: 'msg_1',
      endpoint: 'shop',
      route: 'cancel',
      reason: 'exhausted',
      attempts: 3,
      last_outcome: 'HTTP 500: oops',
      died_at: '2026-11-22T06:00:00.000Z',
      database: 0,
      key: 'order:42:unpaid',
      detected_at: '2026-11-22T06:00:10.003Z',
      detected_by: 'notification',
      expired_at: '2026-11-22T06:00:10.000Z',
      method: 'POST',
      path: '/orders/42',
      content_type: 'application/json',
      body_bytes: 28,
    });
  });

  it('is one line that is safe to print, and says exactly what the body is', () => {
    const body = JSON.stringify({ key: '\u009b\u202e\u{e0001}', '\\': '"' });
    const text = jsonOf(aDeadLetter({ delivery: { body: Buffer.from(body) } }, NOW_MS));
    expect(text).toMatch(/^[\x20-\x7e]*\n$/);
    expect(JSON.parse(text)).toMatchObject({ id: 'msg_1', body });
  });

  it('has a body that is no UTF-8 in base64', () => {
    const body = Buffer.from([0xff, 0x00]);
    const read = JSON.parse(jsonOf(aDeadLetter({ delivery: { body } }, NOW_MS)));
    expect(read.body_base64).toBe(body.toString('base64'));
    expect(read).not.toHaveProperty('body');
  });
});

describe('all about a dead letter', () => {
  it('is a line each, then the body, safe to print', () => {
    const delivery = { ...letter.delivery, body: Buffer.from('{"a":"\u202e"}') };
    const lines = details({ ...letter, delivery }, NOW_MS).split('\n');
    expect(lines).toContain('reason       exhausted (its retries were used up)');
    expect(lines).toContain('died at      2026-11-22T06:00:00.000Z (2h ago)');
    expect(lines).toContain('path         /orders/42');
    expect(lines).toContain('method       POST');
    expect(lines.slice(-3)).toEqual([
      'body         11 bytes, application/json',
      '{"a":"\\u{202e}"}',
      '',
    ]);
  });
});

describe('the count of dead letters', () => {
  it('is by endpoint and reason', () => {
    const tally = new Tally();
    const delivery = { endpoint: 'audit' };
    for (const reason of ['gone', 'exhausted', 'gone'] as const) {
      tally.add(aDeadLetter({ reason, delivery }));
    }
    tally.add(letter);
    expect(tally.text()).toBe(
      '4 dead letters: audit 3 (exhausted 1, gone 2), shop 1 (exhausted 1)',
    );
    expect(tally.byEndpoint).toEqual([
      ['audit', 3],
      ['shop', 1],
    ]);
  });
});

describe('an age', () => {
  it.each([
    [-5, '0s'],
    [119_000, '119s'],
    [120_000, '2m'],
    [7_199_000, '119m'],
    [47 * 3_600_000, '47h'],
    [400 * 86_400_000, '400d'],
  ])('of %i ms is %s', (ms, text) => {
    expect(formatAge(ms)).toBe(text);
  });
});
