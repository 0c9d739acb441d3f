import { describe, expect, it } from 'vitest';
import { judgeLateness, keysPerSecond, worstLagMs } from '../../src/doctor/lateness.js';
import { parseInfo } from '../../src/server/info.js';
import { aReading } from '../support/doctor-readings.js';

const DEFAULTS = { hz: 10, effort: 1 };
const TUNED = { hz: 100, effort: 10 };

describe('the lateness of expirations without the relay', () => {
  it.each([
    [DEFAULTS, 200],
    [{ hz: 10, effort: 10 }, 650],
    [TUNED, 6_500],
  ])('depends on a fixed number of keys a second: %j', (cycle, count) => {
    expect(keysPerSecond(cycle)).toBe(count);
  });

  // The measured maxima were 49.9 s and 15.4 s; an empty server takes one tick.
  it.each([
    [0, DEFAULTS, 100],
    [10_000, DEFAULTS, 50_000],
    [1_000_000, DEFAULTS, 5_000_000],
    [100_000, TUNED, 15_385],
  ])('is for %i keys at %j up to %i ms', (keys, cycle, worstMs) => {
    expect(Math.round(worstLagMs(keys, cycle))).toBe(worstMs);
  });

  const INFO = 'hz:10\r\nexpired_stale_perc:0.40\r\ndb0:keys=12000,expires=10000,avg_ttl=9\r\n';
  const effort = new Map([['active-expire-effort', '1']] as const);

  it('is reported with the maximum, the average and the factors', () => {
    const reading = aReading({ info: parseInfo(INFO), settings: effort });
    expect(judgeLateness(reading, 0, true)).toEqual({
      level: 'note',
      subject: 'lateness',
      text:
        'without the relay, `expired` events would be up to 50 s late (25 s on average): 10,000 keys ' +
        'have a TTL, and Redis checks 200 keys with a TTL per second (hz 10, active-expire-effort 1)',
      advice: null,
      command: null,
    });
  });

  it('is reported for each database where several are watched', () => {
    const reading = aReading({ info: parseInfo(INFO), settings: effort });
    expect(judgeLateness(reading, 3, false)).toMatchObject({
      subject: 'lateness in 3',
      text: expect.stringContaining('up to 0.1 s late with 0 keys with a TTL'),
    });
    expect(judgeLateness(reading, 3, false).text).toContain('(with 100,000, up to 8 min)');
  });

  it('is reported with hidden settings and the backlog', () => {
    const info = parseInfo(INFO.replace('0.40', '12.30').replace('hz:10', 'hz:100'));
    const { text } = judgeLateness(aReading({ info }), 0, true);
    expect(text).toContain('up to 5 s late');
    expect(text).toContain('(hz 100, active-expire-effort 1, the default)');
    expect(text).toContain('about 12% of the keys are past their deadlines');
  });

  it('is unknown without INFO', () => {
    expect(judgeLateness(aReading({ info: null }), 0, true)).toMatchObject({
      level: 'note',
      advice: expect.stringContaining('+info'),
    });
  });
});
