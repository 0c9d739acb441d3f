import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { defectOf } from '../../src/lib/text-defect.js';

describe('the defect of a text', () => {
  it.each([
    ['hunter2\n', 'ends with a newline'],
    ['hunter2\r\n', 'ends with a newline'],
    ['hunter2\r', 'ends with a carriage return'],
    ['hunter2 ', 'ends with a blank'],
    ['hunter2\t', 'ends with a tab'],
    ['\nhunter2', 'begins with a newline'],
    [' hunter2 ', 'begins with a blank and ends with a blank'],
    ['\ufeffhunter2', 'begins with a byte order mark (U+FEFF)'],
    ['hunter2\u00a0', 'ends with a no-break space (U+00A0)'],
    ['\u2003hunter2', 'begins with a space (U+2003)'],
    ['"hunter2"', 'is enclosed in double quotes'],
    ["'hunter2'", 'is enclosed in single quotes'],
    ['“hunter2”', 'is enclosed in typographic quotes'],
    ['«hunter2»', 'is enclosed in typographic quotes'],
    ['"hunter2"\n', 'ends with a newline and is enclosed in double quotes'],
    ['"hunter2', 'begins with a quote'],
    ['hunter2”', 'ends with a quote'],
    ['hun\u200bter2', 'contains a zero width space (U+200B) at character 4'],
    ['hun\u00adter2', 'contains a soft hyphen (U+00AD) at character 4'],
    ['hun\u202eter2', 'contains a right-to-left override (U+202E) at character 4'],
    ['hun\u0007ter2', 'contains a control character (U+0007) at character 4'],
    ['hun\nter2', 'contains a newline at character 4'],
    ['hun\u{e0061}ter2', 'contains an invisible character (U+E0061) at character 4'],
    ['😀\u2060hunter2', 'contains a word joiner (U+2060) at character 2'],
    [' hun\u00a0ter', 'begins with a blank and contains a no-break space (U+00A0) at character 5'],
    ['\n', 'holds nothing but blanks or invisible characters'],
    ['\u200b', 'holds nothing but blanks or invisible characters'],
  ])('of %j: it %s', (text, defect) => {
    expect(defectOf(text)).toBe(defect);
  });

  it.each([
    '',
    'hunter2',
    'correct horse battery staple',
    `it's`,
    '5" pipe',
    'a"b"c',
    'naïve 日本',
  ])('is none of %j', (text) => {
    expect(defectOf(text)).toBeNull();
  });

  it('never repeats visible characters of the string', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        const seen = [...text].filter((char) => /[^\p{C}\p{Z}\s\w ()+,.-]/u.test(char));
        for (const char of seen) expect(defectOf(text) ?? '').not.toContain(char);
      }),
    );
  });
});
