import { Writable } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { systemClock } from '../../src/lib/clock.js';
import {
  BufferedOutput,
  type TextOutput,
  type WriteError,
} from '../../src/telemetry/buffered-output.js';
import { createLog, LOG_BYTES_WAITING_MAX } from '../../src/telemetry/log.js';
import { eventually } from '../support/eventually.js';

/** A log that records each write; its output is not read if `hangs`. */
function aLog(format: 'json' | 'pretty' = 'json', hangs = false) {
  const writes: string[] = [];
  const stdout = new Writable({
    decodeStrings: false,
    write(text: string, _, done) {
      writes.push(text);
      if (!hangs) done();
    },
  });
  return { ...logTo(stdout, format), writes };
}

function logTo(target: TextOutput, format: 'json' | 'pretty' = 'json') {
  let dropped = 0;
  const output = new BufferedOutput(target);
  const log = createLog(
    { level: 'info', format },
    output,
    {
      onLost: (lines) => {
        dropped += lines;
      },
      onRegained: (lines, reason) => log.warn({ event: 'lost', lines, reason }),
    },
    systemClock,
  );
  return { log, output, dropped: () => dropped };
}

/** A file with room for this number of bytes. */
class SmallFile implements TextOutput {
  readonly writableLength = 0;
  text = '';
  room = Number.POSITIVE_INFINITY;

  write(text: string, done: (error?: WriteError) => void): void {
    const written = Buffer.from(text).subarray(0, this.room);
    this.text += written.toString();
    this.room -= written.length;
    if (written.length === Buffer.byteLength(text)) return done();
    done(Object.assign(new Error('the disk is full'), { bytesWritten: written.length }));
  }
}

/** The log as read line by line; a line that is not JSON appears as a string. */
function linesOf(text: string): unknown[] {
  const lines = text.split('\n').slice(0, -1);
  return lines.map((line) => {
    try {
      return (JSON.parse(line) as { msg?: string; lines?: number }).msg ?? JSON.parse(line).lines;
    } catch {
      return line;
    }
  });
}

describe.each(['json', 'pretty'] as const)('the log as %s', (format) => {
  it('writes the lines of one turn together, in order', async () => {
    const { log, writes } = aLog(format);
    for (const line of ['one', 'two', 'three']) log.info(line);
    expect(writes).toEqual([]);
    await systemClock.turn();
    expect(writes).toHaveLength(1);
    expect(writes[0]).toMatch(/one.*\n.*two.*\n.*three.*\n$/);
    log.info('four');
    await eventually('the next turn', () => writes[1]?.includes('four'));
  });

  it('writes a fatal line, and the lines before it, at once', () => {
    const { log, writes } = aLog(format);
    log.info('one');
    log.fatal('two');
    expect(writes).toHaveLength(1);
    expect(writes[0]).toMatch(/one.*\n.*two.*\n$/);
  });

  it('drops the lines without room, written or gathered, and counts them', async () => {
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

describe('the log as auto', () => {
  const lineTo = (isTTY: boolean, columns: number, colored: boolean) => {
    let text = '';
    const target = {
      isTTY,
      columns,
      writableLength: 0,
      write(chunk: string, done: () => void) {
        text += chunk;
        done();
      },
    };
    const output = new BufferedOutput(target, colored);
    const log = createLog(
      { level: 'info', format: 'auto' },
      output,
      {
        onLost: () => undefined,
        onRegained: () => undefined,
      },
      systemClock,
    );
    log.info({ event: 'tried', long: 'x'.repeat(60) }, 'one');
    output.flush();
    return text;
  };

  it('is readable on a terminal, in its width and with colors', () => {
    expect(lineTo(true, 120, false)).toMatch(/^\S+ INFO {2}tried {2}one {2}long=x+\n$/);
    expect(lineTo(true, 80, false)).toMatch(/^\S+ INFO {2}tried {2}one\n$/);
    expect(lineTo(true, 80, true)).toContain('\u001b[');
  });

  it('is JSON elsewhere', () => {
    expect(JSON.parse(lineTo(false, 80, false))).toMatchObject({ event: 'tried', msg: 'one' });
  });
});

describe('a log on a full disk', () => {
  it('counts each lost line, begins the next one on a new line, and then logs the number', async () => {
    const file = new SmallFile();
    const { log, output, dropped } = logTo(file);
    const write = (...messages: string[]) => {
      for (const message of messages) log.info(message);
      output.flush();
    };
    write('one');
    file.room = file.text.length + 10;
    write('two', 'cut', 'lost');
    expect(dropped()).toBe(2);
    write('lost');
    expect(dropped()).toBe(3);
    expect(output.isFailing).toBe(true);
    file.room = Number.POSITIVE_INFINITY;
    write('three');
    expect(output.isFailing).toBe(false);
    output.flush();
    write('four');
    expect(dropped()).toBe(3);
    expect(linesOf(file.text)).toEqual(['one', 'two', '{"level":"', 'three', 3, 'four']);
  });

  it('adds no empty line if no line was cut', () => {
    const file = new SmallFile();
    const { log, output, dropped } = logTo(file);
    log.info('one');
    output.flush();
    file.room = 0;
    for (const message of ['lost', 'lost']) {
      log.info(message);
      output.flush();
    }
    file.room = Number.POSITIVE_INFINITY;
    log.info('two');
    output.flush();
    output.flush();
    expect(dropped()).toBe(2);
    expect(linesOf(file.text)).toEqual(['one', 'two', 2]);
  });

  it('does not treat the end of a cut line as a line, even after repeated failures', () => {
    const file = new SmallFile();
    const { log, output, dropped } = logTo(file);
    for (const room of [5, 0, 0, Number.POSITIVE_INFINITY]) {
      file.room = room;
      log.info('line');
      output.flush();
    }
    output.flush();
    expect(dropped()).toBe(3);
    expect(linesOf(file.text)).toEqual(['{"lev', 'line', 3]);
  });
});

describe('a log whose reader leaves', () => {
  it('may have cut a waiting line, and begins the next one on a new line', () => {
    let text = '';
    const answers: ((error?: Error) => void)[] = [];
    const pipe = {
      writableLength: 0,
      write(chunk: string, done: (error?: Error) => void) {
        pipe.writableLength = 1;
        text += chunk;
        answers.push((error) => {
          pipe.writableLength = 0;
          done(error);
        });
      },
    };
    const { log, output, dropped } = logTo(pipe);
    log.info('one');
    output.flush();
    answers.shift()?.(new Error('EPIPE'));
    expect(dropped()).toBe(1);
    text = text.slice(0, 9);
    log.info('two');
    output.flush();
    answers.shift()?.();
    output.flush();
    expect(linesOf(text)).toEqual(['{"level":', 'two', 1]);
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
