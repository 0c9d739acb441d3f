import { stripVTControlCharacters } from 'node:util';
import { describe, expect, it } from 'vitest';
import { paintFor } from '../../src/lib/terminal.js';
import { terminalLine } from '../../src/telemetry/terminal-lines.js';

const ATTEMPT = {
  level: 'info',
  time: '2026-11-27T22:40:42.123Z',
  event: 'attempt',
  id: 'msg_d7da898665895e6471a2117d8784d684',
  route: 'cancel',
  endpoint: 'shop',
  attempt: 1,
  key: 'order:42:unpaid',
  status: 204,
  location: null,
  msg: 'delivered',
};

function lineOf(more: object, width: number | null = 80, colored = false): string {
  return terminalLine(JSON.stringify({ ...ATTEMPT, ...more }), width, paintFor(colored));
}

describe('a log line on a terminal', () => {
  it('has time, level, event and the important fields, and fits 80 columns', () => {
    expect(lineOf({})).toBe(
      '22:40:42.123 INFO  attempt  endpoint=shop  key=order:42:unpaid  status=204\n',
    );
  });

  it('shows more fields on a wider terminal, and all of them elsewhere', () => {
    expect(lineOf({}, 120)).toBe(
      '22:40:42.123 INFO  attempt  delivered  endpoint=shop  key=order:42:unpaid  status=204  route=cancel  attempt=1\n',
    );
    expect(lineOf({}, null)).toContain('  attempt=1');
    expect(lineOf({}, null)).toContain('id=msg_d7da898665895e6471a2117d8784d684');
  });

  it('keeps the message and the error of a warning, below the line if they do not fit', () => {
    const failed = { level: 'warn', error: 'connect ECONNREFUSED 127.0.0.1:8080', status: null };
    const msg = 'delivery failed; will retry in 5 s, and after that at growing intervals';
    expect(lineOf({ ...failed, msg })).toBe(
      '22:40:42.123 WARN  attempt  endpoint=shop  key=order:42:unpaid  route=cancel\n' +
        '             delivery failed; will retry in 5 s, and after that at growing\n' +
        '             intervals  error="connect ECONNREFUSED 127.0.0.1:8080"\n',
    );
  });

  it('shortens an important field instead of showing less important ones', () => {
    expect(lineOf({ key: `order:${'4'.repeat(60)}:unpaid`, status: 204 })).toBe(
      `22:40:42.123 INFO  attempt  endpoint=shop  key=order:${'4'.repeat(26)}…\n`,
    );
  });

  it('has the message first for other events, and not twice', () => {
    const more = { event: 'stopping', msg: 'finishing attempts', key: undefined, status: null };
    expect(lineOf(more)).toContain('INFO  stopping  finishing attempts  endpoint=shop');
    expect(lineOf({ ...more, event: 'stopped', msg: 'stopped' })).toContain('  stopped  endpoint=');
  });

  it('shows the checks that a start waits for', () => {
    const checks = [`redis: ${'no answer '.repeat(8)}`.trim()];
    const line = terminalLine(
      JSON.stringify({
        level: 'info',
        time: ATTEMPT.time,
        event: 'waiting',
        checks,
        msg: 'not ready',
      }),
      80,
      paintFor(false),
    );
    expect(line.split('\n')[1]).toContain('checks=["redis: no answer');
  });

  it('never exceeds the width of the terminal by more than one long word', () => {
    for (const width of [20, 40, 60, 80, 100, 120]) {
      for (const level of ['info', 'error']) {
        const error = 'nothing listens there '.repeat(10).trim();
        const lines = lineOf({ level, error }, width).trimEnd().split('\n');
        const [first = '', ...others] = lines;
        expect(first.length).toBeLessThanOrEqual(Math.max(width, 26));
        for (const line of others) expect(line.length).toBeLessThanOrEqual(Math.max(width, 33));
      }
    }
  });

  it('contains no control characters, and no line breaks of a value', () => {
    const hostile = 'a\u001b[2J\nb';
    const line = lineOf({ key: hostile, msg: hostile, level: 'error' }, null);
    expect(line).toContain('key=a\\x1b[2J\\x0ab');
    expect(line.split('\n')).toHaveLength(2);
    expect(line).not.toContain('\u001b');
  });

  it('is colored without a change of its text', () => {
    const colored = lineOf({}, 120, true);
    expect(colored).not.toBe(lineOf({}, 120));
    expect(stripVTControlCharacters(colored)).toBe(lineOf({}, 120));
  });
});
