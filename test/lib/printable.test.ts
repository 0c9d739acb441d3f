// cspell:ignore mred
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  escapeUnprintable,
  printable,
  printableBytes,
  printableJson,
} from '../../src/lib/printable.js';

/** Characters that begin a line, move the cursor or change the reading direction. */
const UNSAFE = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/u;

describe('printable', () => {
  it.each([
    ['order:42', 'order:42'],
    ['a\nb', 'a\\x0ab'],
    ['\u001b[31mred', '\\x1b[31mred'],
    ['\u009b2J', '\\x9b2J'],
    ['\u202eright', '\\u{202e}right'],
    ['\u2028', '\\u{2028}'],
    ['back\\slash', 'back\\\\slash'],
    ['日本', '日本'],
  ])('%j becomes %s', (text, safe) => {
    expect(printable(text)).toBe(safe);
  });

  it('never returns unsafe characters, for any string or bytes', () => {
    fc.assert(fc.property(fc.string({ unit: 'binary' }), (text) => !UNSAFE.test(printable(text))));
    fc.assert(fc.property(fc.uint8Array(), (bytes) => !UNSAFE.test(printableBytes(bytes))));
  });

  it('maps different strings to different results unless it truncates them', () => {
    fc.assert(
      fc.property(fc.string(), fc.string(), (a, b) => a === b || printable(a) !== printable(b)),
    );
  });

  it('truncates long strings', () => {
    expect(printable('x'.repeat(300), 10)).toBe(`${'x'.repeat(10)}…`);
    expect(printableBytes(Buffer.alloc(300, 0xff), 2)).toBe('\\xff\\xff…');
  });

  it('does not change a printable string', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        const safe = printable(text, Number.POSITIVE_INFINITY);
        return escapeUnprintable(safe, Number.POSITIVE_INFINITY) === safe;
      }),
    );
    expect(escapeUnprintable('a\\b\u001b')).toBe('a\\b\\x1b');
    expect(escapeUnprintable('x'.repeat(300), 10)).toBe(`${'x'.repeat(9)}…`);
  });

  it('has an equivalent JSON form on one line that is safe to print', () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.string({ unit: 'binary' }), (value, text) => {
        const json = printableJson([value, text]);
        expect(JSON.parse(json)).toEqual(JSON.parse(JSON.stringify([value, text])));
        return !UNSAFE.test(json);
      }),
    );
  });
});
