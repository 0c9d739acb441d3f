import { Writable } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { systemClock } from '../src/clock.js';
import { GatheredOutput } from '../src/gathered-output.js';
import { createLog, LOG_BYTES_WAITING_MAX } from '../src/log.js';
import { eventually } from './support/eventually.js';

/** A log whose output keeps each write; nobody reads it when `hangs`. */
function aLog(format: 'json' | 'pretty' = 'json', hangs = false) {
  const writes: string[] = [];
  const stdout = new Writable({
    decodeStrings: false,
    write(text: string, _, done) {
      writes.push(text);
      if (!hangs) done();
    },
  });
  let dropped = 0;
  const output = new GatheredOutput(stdout);
  const log = createLog({ level: 'info', format }, output, () => {
    dropped += 1;
  });
  return { log, output, writes, dropped: () => dropped };
}

describe.each(['json', 'pretty'] as const)('the log as %s', (format) => {
  it('writes the lines of one turn together, in their order', async () => {
    const { log, writes } = aLog(format);
    for (const line of ['one', 'two', 'three']) log.info(line);
    expect(writes).toEqual([]);
    await systemClock.turn();
    expect(writes).toHaveLength(1);
    expect(writes[0]).toMatch(/one.*\n.*two.*\n.*three.*\n$/);
    log.info('four');
    await eventually('the next turn', () => writes[1]?.includes('four'));
  });

  it('writes a fatal line, and what comes before it, at once', () => {
    const { log, writes } = aLog(format);
    log.info('one');
    log.fatal('two');
    expect(writes).toHaveLength(1);
    expect(writes[0]).toMatch(/one.*\n.*two.*\n$/);
  });

  it('drops the lines for which there is no room, written or gathered, and counts them', async () => {
    const { log, output, writes, dropped } = aLog(format, true);
    const half = 'x'.repeat(LOG_BYTES_WAITING_MAX / 2);
    log.info(half);
    log.info(half);
    expect(dropped()).toBe(1);
    await systemClock.turn();
    log.info(half);
    log.info('short');
    output.flush();
    expect(dropped()).toBe(2);
    expect(writes).toHaveLength(1);
    expect(output.writableLength).toBeGreaterThan(half.length);
  });
});

describe('gathered output', () => {
  it('is written when it is flushed, and only once', async () => {
    const { output, writes } = aLog();
    output.write('a');
    output.write('b');
    output.flush();
    expect(writes).toEqual(['ab']);
    await systemClock.turn();
    expect(writes).toEqual(['ab']);
  });
});
