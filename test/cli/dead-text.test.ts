import { describe, expect, it } from 'vitest';
import {
  details,
  formatAge,
  jsonLines,
  jsonOf,
  Tally,
  toListedLetter,
} from '../../src/cli/dead-text.js';
import { paintFor } from '../../src/lib/terminal.js';
import { aDeadLetter } from '../support/dead-letters.js';
import { blockOf } from '../support/doc-pages.js';

const NOW_MS = Date.parse('2026-11-22T08:00:00Z');

const plain = { paint: paintFor(false) };

const letter = aDeadLetter(
  {
    agoMs: 7_200_000,
    delivery: { path: '/orders/42', expiredAtMs: Date.parse('2026-11-22T06:00:10Z') },
  },
  NOW_MS,
);

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
    const text = jsonOf(aDeadLetter({ delivery: { body: Buffer.from(body) } }, NOW_MS), null);
    expect(text).toMatch(/^[\x20-\x7e]*\n$/);
    expect(JSON.parse(text)).toMatchObject({ id: 'msg_1', body, url: null, response_body: 'oops' });
  });

  it('has the recorded attempts only where one letter is shown', () => {
    const startedAtMs = Date.parse('2026-11-22T05:59:59.988Z');
    const recorded = { ...letter, history: [{ startedAtMs, durationMs: 12, outcome: 'HTTP 500' }] };
    expect(JSON.parse(jsonOf(recorded, null)).attempt_history).toEqual([
      { at: '2026-11-22T05:59:59.988Z', outcome: 'HTTP 500', duration_ms: 12 },
    ]);
    expect(toListedLetter(recorded)).not.toHaveProperty('attempt_history');
  });

  it('has a body that is no UTF-8 in base64', () => {
    const body = Buffer.from([0xff, 0x00]);
    const read = JSON.parse(jsonOf(aDeadLetter({ delivery: { body } }, NOW_MS), null));
    expect(read.body_base64).toBe(body.toString('base64'));
    expect(read).not.toHaveProperty('body');
  });
});

describe('all about a dead letter', () => {
  it('is a line each, then the body, safe to print', () => {
    const delivery = { ...letter.delivery, body: Buffer.from('{"a":"\u202e"}') };
    const url = 'http://shop/orders/42';
    const lines = details({ ...letter, delivery }, url, NOW_MS, plain).split('\n');
    expect(lines).toContain('reason       exhausted (all retries failed)');
    expect(lines).toContain('last error   HTTP 500');
    expect(lines).toContain('response     oops');
    expect(lines).toContain('died at      2026-11-22T06:00:00.000Z (2h ago)');
    expect(lines).toContain('request      POST http://shop/orders/42');
    expect(lines.slice(-3)).toEqual([
      'body         11 bytes, application/json',
      '{"a":"\\u{202e}"}',
      '',
    ]);
  });

  const attempt = (at: string, outcome: string, durationMs: number) => ({
    startedAtMs: Date.parse(at),
    durationMs,
    outcome,
  });

  it('has a line for each attempt that is recorded, as the documentation shows', () => {
    const documented = blockOf('docs/operations/dead-letters.md', 'text', 'attempts     3');
    const history = [
      attempt('2026-11-27T22:40:35.412Z', 'HTTP 503', 12),
      attempt('2026-11-27T22:40:36.390Z', 'timeout', 15_004),
      attempt('2026-11-27T22:40:56.204Z', 'connection_refused', 1),
    ];
    const lastOutcome = 'connection_refused: connect ECONNREFUSED 10.0.0.7:8080';
    expect(details({ ...letter, lastOutcome, history }, null, NOW_MS, plain)).toContain(documented);
  });

  it('has lines for attempts that fit 80 columns', () => {
    const history = [attempt('2026-11-27T22:40:35.412Z', 'connection_refused', 3_600_000)];
    const lines = details({ ...letter, history }, null, NOW_MS, plain).split('\n');
    const line = lines.find((each) => each.includes('connection_refused'));
    expect(line).toHaveLength(67);
  });

  it.each([
    [[], 'attempts     3 (none recorded)'],
    [[attempt('2026-11-27T22:40:35.412Z', 'dns', 1)], 'attempts     3 (1 recorded)'],
  ])('says how many attempts are recorded if some are missing', (history, line) => {
    expect(details({ ...letter, history }, null, NOW_MS, plain).split('\n')).toContain(line);
  });

  it('says that a webhook was never attempted, and that its URL is unknown', () => {
    const unattempted = { ...letter, attempts: 0, lastOutcome: null };
    const lines = details(unattempted, null, NOW_MS, plain).split('\n');
    expect(lines).toContain('attempts     0');
    expect(lines).toContain('last error   never attempted');
    expect(lines).toContain(
      'request      POST /orders/42 (the endpoint is not in the configuration)',
    );
    expect(lines.join()).not.toContain('response');
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
