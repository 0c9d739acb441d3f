import { describe, expect, it } from 'vitest';
import {
  formatDuration,
  formatSize,
  readDuration,
  readFraction,
  readRate,
  readSize,
  readWhole,
} from '../../src/config/quantities.js';

const anything = { min: 0, max: Number.MAX_SAFE_INTEGER };

describe('readDuration', () => {
  it.each([
    ['0ms', 0],
    ['250ms', 250],
    ['15s', 15_000],
    ['5m', 300_000],
    ['2h', 7_200_000],
    ['1d', 86_400_000],
    ['1w', 604_800_000],
    ['1h30m', 5_400_000],
    ['2w1d3h4m5s6ms', 1_307_045_006],
    ['1m500ms', 60_500],
  ])('reads %s as %i ms', (text, ms) => {
    expect(readDuration(text, anything)).toEqual({ ok: true, value: ms });
  });

  it.each([
    '',
    '15',
    's',
    '1.5s',
    '-1s',
    '1 s',
    '1S',
    '1s2s',
    '30m1h',
    '1h30',
    '1h 30m',
    '1h1h',
    '١s',
    '1s\n',
  ])('refuses %j', (text) => {
    expect(readDuration(text, anything)).toMatchObject({ ok: false });
  });

  it('asks for the unit when there are only digits', () => {
    expect(readDuration('15', anything)).toMatchObject({ wording: { hint: 'which unit?' } });
  });

  it('enforces both ends of its range, and names them', () => {
    const range = { min: 1, max: 600_000 };
    expect(readDuration('1ms', range)).toMatchObject({ ok: true });
    expect(readDuration('10m', range)).toMatchObject({ ok: true });
    for (const text of ['0ms', '600001ms']) {
      expect(readDuration(text, range)).toMatchObject({
        wording: { expected: 'a duration from 1ms to 10m' },
      });
    }
  });
});

describe('readSize', () => {
  it.each([
    ['512B', 512],
    ['16KiB', 16_384],
    ['1MiB', 1_048_576],
  ])('reads %s as %i bytes', (text, bytes) => {
    expect(readSize(text, anything)).toEqual({ ok: true, value: bytes });
  });

  it.each(['16', '16KB', '16kib', '1GiB', '-1B'])('refuses %j', (text) => {
    expect(readSize(text, anything)).toMatchObject({ ok: false });
  });
});

describe('readRate', () => {
  it.each([
    ['100/s', 100, 1_000],
    ['600/m', 600, 60_000],
    ['1/h', 1, 3_600_000],
  ])('reads %s', (text, count, perMs) => {
    expect(readRate(text, anything)).toEqual({ ok: true, value: { count, perMs } });
  });

  it.each(['100', '100/d', '/s', '1.5/s', '100 / s', '0/s'])('refuses %j', (text) => {
    expect(readRate(text, { min: 1, max: 1000 })).toMatchObject({ ok: false });
  });
});

describe('readWhole and readFraction', () => {
  it('accept digits in a string, because variables are strings', () => {
    expect(readWhole('32', anything)).toEqual({ ok: true, value: 32 });
    expect(readWhole(32, anything)).toEqual({ ok: true, value: 32 });
    expect(readFraction('0.2', anything)).toEqual({ ok: true, value: 0.2 });
  });

  it.each([1.5, -1, '1.5', '', ' 1', '0x10', '1e3', Number.NaN, Number.POSITIVE_INFINITY, 101])(
    'refuse %j as a whole number from 0 to 100',
    (value) => {
      expect(readWhole(value, { min: 0, max: 100 })).toMatchObject({ ok: false });
    },
  );

  it.each([1.1, -0.1, '1.1', '.5', '', Number.NaN])('refuse %j as a share', (value) => {
    expect(readFraction(value, { min: 0, max: 1 })).toMatchObject({ ok: false });
  });
});

describe('formatting', () => {
  it('takes the largest unit that leaves a whole number', () => {
    expect([0, 90_000, 3_600_000, 1_500].map(formatDuration)).toEqual([
      '0ms',
      '90s',
      '1h',
      '1500ms',
    ]);
    expect([0, 1_000, 262_144, 1_048_576].map(formatSize)).toEqual([
      '0B',
      '1000B',
      '256KiB',
      '1MiB',
    ]);
  });
});
