// cspell:ignore ababab abca abcbc xabyabz xxorder ключ
import { describe, expect, it } from 'vitest';
import { compilePattern, PatternError } from '../../src/routing/pattern.js';

/** The params as strings; null when the key does not match. */
function paramsIn(pattern: string, key: string | Buffer): Record<string, string> | null {
  const params = compilePattern(pattern).match(Buffer.from(key as string));
  if (params === null) return null;
  return Object.fromEntries(Object.entries(params).map(([name, value]) => [name, `${value}`]));
}

function matches(pattern: string, key: string | Buffer): boolean {
  return compilePattern(pattern).match(Buffer.from(key as string)) !== null;
}

function refusalOf(pattern: string): { message: string; offset: number } {
  try {
    compilePattern(pattern);
  } catch (error) {
    if (error instanceof PatternError) return { message: error.message, offset: error.offset };
  }
  throw new Error(`expected ${pattern} to be refused`);
}

describe("Redis's own glob", () => {
  it.each([
    ['order:1', ['order:1'], ['order:', 'order:12', 'Order:1']],
    ['*', ['', 'a', ':'], []],
    ['**', ['a', 'ab'], ['']],
    ['a*', ['a', 'ab', 'a:b'], ['', 'ba']],
    ['*a', ['a', 'ba', 'aa'], ['', 'ab']],
    ['a*b*c', ['abc', 'a1b2c', 'abcbc'], ['ab', 'acb', 'abca']],
    ['a?c', ['abc', 'a:c', 'a?c'], ['ac', 'abbc']],
    ['?*', ['a', 'ab'], ['']],
    ['*ab*ab*', ['abab', 'xabyabz', 'ababab'], ['aba', 'ab']],
    ['[abc]', ['a', 'b', 'c'], ['', 'd', 'ab', 'abc']],
    ['[^abc]', ['d', '^', ':'], ['', 'a', 'dd']],
    ['[a^]', ['a', '^'], ['b']],
    ['[a-c]', ['a', 'b', 'c'], ['-', 'd']],
    ['[c-a]', ['a', 'b', 'c'], ['-', 'd']],
    ['[a-c0-9]', ['b', '5'], ['-', 'd']],
    ['[-a]', ['-', 'a'], ['b']],
    ['[^-a]', ['b'], ['-', 'a']],
    ['[\\a-c]', ['a', '-', 'c'], ['b', '\\']],
    ['[\\]]', [']'], ['\\', 'a']],
    ['[\\^a]', ['^', 'a'], ['b', '\\']],
    ['[a-\\]', ['a', '\\', ']', '^', '_', '`'], ['b', '-', '[']],
    ['[a-]]', ['a', '`', ']'], ['-', 'b']],
    ['[^]', ['a', ']', ':'], ['', 'ab']],
    ['[[]', ['['], [']', '[[']],
    ['[{]', ['{'], ['[', '}']],
    [']', [']'], ['']],
    ['}', ['}'], ['']],
    ['\\*', ['*'], ['\\*', 'a']],
    ['\\?\\[\\\\', ['?[\\'], ['a[\\']],
    ['\\a', ['a'], ['\\a']],
    ['\\{id}', ['{id}'], ['id', '7']],
  ])('%s takes what Redis takes', (pattern, taken, left) => {
    for (const key of taken) expect(matches(pattern, key), `${pattern} takes "${key}"`).toBe(true);
    for (const key of left) expect(matches(pattern, key), `${pattern} leaves "${key}"`).toBe(false);
  });

  it('matches bytes, not characters', () => {
    expect(matches('é', 'é')).toBe(true);
    expect(matches('?', 'é')).toBe(false);
    expect(matches('??', 'é')).toBe(true);
    expect(matches('ключ:*', 'ключ:1')).toBe(true);
    expect(matches('🔑?', '🔑a')).toBe(true);
    expect(matches('\\é', 'é')).toBe(true);
    expect(matches('[é]', Buffer.from([0xc3]))).toBe(true);
    expect(matches('[é]', 'é')).toBe(false);
    expect(matches('[à-ü]', Buffer.from([0xb0]))).toBe(true);
  });

  it('matches keys that are not UTF-8', () => {
    const key = Buffer.from([0x61, 0x00, 0xff, 0xfe, 0x3a, 0x80]);
    expect(matches('a*', key)).toBe(true);
    expect(matches('a????\u0080', key)).toBe(false);
    expect(compilePattern('a{x}:{y}').match(key)).toEqual({
      x: Buffer.from([0x00, 0xff, 0xfe]),
      y: Buffer.from([0x80]),
    });
  });

  it('accepts a Uint8Array that is a view of a larger buffer', () => {
    const window = new Uint8Array(Buffer.from('xxorder:7yy')).subarray(2, 9);
    expect(compilePattern('order:{id}').match(window)).toEqual({ id: Buffer.from('7') });
  });
});

describe('captures', () => {
  it.each([
    ['order:{id}:unpaid', 'order:42:unpaid', { id: '42' }],
    ['order:{id}:unpaid', 'order::unpaid', null],
    ['order:{id}:unpaid', 'order:4:2:unpaid', null],
    ['order:{id}:unpaid', 'order:42', null],
    ['order:{id}', 'order:42', { id: '42' }],
    ['order:{id}', 'order:', null],
    ['order:{id}', 'order:4:2', null],
    ['{tenant}:*:{id}', 'a:b:c:d', { tenant: 'a', id: 'd' }],
    ['{a}:{b}', 'a:b', { a: 'a', b: 'b' }],
    ['{a}:{b}', ':b', null],
    ['{all}', 'anything at all', { all: 'anything at all' }],
    ['{all}', 'a:b', null],
    ['*{a}*', ':', null],
    ['[:]{a}[:]', ':x:', { a: 'x' }],
    ['{a}[:-;]b', 'a;;b', { a: 'a;' }],
    ['\\{{tag}}:x', '{42}:x', { tag: '42' }],
  ])('%s takes from %s', (pattern, key, params) => {
    expect(paramsIn(pattern, key)).toEqual(params);
  });

  it.each([
    ['{a}-{b}', '1-2-3', { a: '1-2', b: '3' }],
    ['{a}{b}{c}', 'abcde', { a: 'abc', b: 'd', c: 'e' }],
    ['{a}{b}', 'a', null],
    ['*{a}', 'a:bcd', { a: 'd' }],
    ['{a}*', 'abc', { a: 'abc' }],
    ['{a}*', 'ab:c', { a: 'ab' }],
    ['{a}*{b}', 'ab:cd', { a: 'ab', b: 'd' }],
    ['*-{a}*', 'x-y-zz', { a: 'zz' }],
    ['*a{x}b{y}c*', 'a1b2ba3b4c', { x: '3', y: '4' }],
    ['{a}{b}{c}*{d}', 'abcdef', { a: 'abc', b: 'd', c: 'e', d: 'f' }],
  ])('from left to right each takes as much as it can: %s on %s', (pattern, key, params) => {
    expect(paramsIn(pattern, key)).toEqual(params);
  });

  it('are listed in order', () => {
    expect(compilePattern('{b}:{a}:*-{_2}').names).toEqual(['b', 'a', '_2']);
    expect(compilePattern('a*').names).toEqual([]);
  });

  it('may have the name of an object property, such as `constructor`', () => {
    const params = compilePattern('{constructor}:{toString}').match(Buffer.from('a:b'));
    expect(params).toEqual({ constructor: Buffer.from('a'), toString: Buffer.from('b') });
    expect(compilePattern('a').match(Buffer.from('a'))?.constructor).toBeUndefined();
  });

  it('are copies, which later changes of the key do not affect', () => {
    const key = Buffer.from('order:42');
    const params = compilePattern('order:{id}').match(key);
    key.fill('x');
    expect(params).toEqual({ id: Buffer.from('42') });
  });

  it('of one key do not affect the next', () => {
    const pattern = compilePattern('{a}-{b}*x{c}');
    expect(pattern.match(Buffer.from('1-2x3'))).not.toBeNull();
    expect(pattern.match(Buffer.from('-2x3'))).toBeNull();
    expect(pattern.match(Buffer.from('12'))).toBeNull();
    expect(pattern.match(Buffer.from('4-5x6'))).toEqual({
      a: Buffer.from('4'),
      b: Buffer.from('5'),
      c: Buffer.from('6'),
    });
  });
});

describe('a pattern is refused', () => {
  const capture =
    'expected a capture such as `{name}` (a letter or `_`, then at most 63 letters, digits or `_`), ';
  const captureAdvice = '; correct the name, or write `\\{` for a brace';
  const unterminated = 'expected `]` to close the class, found the end';
  const mixed =
    'expected a range between two ASCII characters, found one with an end beyond ASCII, which ' +
    'Redis reads differently on different machines; a class stands for one byte, so write one ' +
    'pattern per character instead';
  const empty =
    'expected a character between `[` and `]`, found none, which matches no key; write `\\[` for a ' +
    'bracket, or `[\\]…]` for a class that begins with `]`';

  it.each([
    ['', 0, 'expected a pattern, found an empty string; write `*` to match every key'],
    ['a[bc', 1, `${unterminated}; add it, or write \`\\[\` for a bracket`],
    ['[', 0, `${unterminated}; add it, or write \`\\[\` for a bracket`],
    ['[^', 0, `${unterminated}; add it, or write \`\\[\` for a bracket`],
    ['[\\', 0, `${unterminated}; add it, or write \`\\[\` for a bracket`],
    [
      'é[a-]',
      1,
      `${unterminated} (a \`]\` right after \`-\` or \`\\\` does not close it); add it, or write \`\\[\` for a bracket`,
    ],
    [
      '[\\]',
      0,
      `${unterminated} (a \`]\` right after \`-\` or \`\\\` does not close it); add it, or write \`\\[\` for a bracket`,
    ],
    ['a[]', 1, empty],
    ['[]a]', 0, empty],
    ['🔑:\\', 3, 'expected a character after `\\`, found the end; write `\\\\` for a backslash'],
    ['a:{', 2, `${capture}found \`{\`${captureAdvice}`],
    ['é:{}', 2, `${capture}found \`{}\`${captureAdvice}`],
    ['{2nd}', 0, `${capture}found \`{2nd}\`${captureAdvice}`],
    ['{a-b}:x', 0, `${capture}found \`{a-b}\`${captureAdvice}`],
    ['{naïve}', 0, `${capture}found \`{naïve}\`${captureAdvice}`],
    [`{${'n'.repeat(65)}}`, 0, `${capture}found \`{${'n'.repeat(39)}…\`${captureAdvice}`],
    ['{id}:{id}', 5, 'expected each name once, found `{id}` again; rename one of them'],
    [
      '{__proto__}',
      0,
      'expected a name that receivers can use safely, found `{__proto__}`; choose another one',
    ],
    ['x[a-é]', 2, mixed],
    ['x[é-z]', 2, mixed],
    [
      '\ud800',
      0,
      'expected text, found half of a surrogate pair; it has no UTF-8 bytes, so remove it',
    ],
  ])('%j at %i', (pattern, offset, message) => {
    expect(refusalOf(pattern)).toEqual({ message, offset });
  });

  it('when it is longer than its limit, counted in bytes', () => {
    expect(matches('a'.repeat(256), 'a')).toBe(false);
    expect(refusalOf(`${'é'.repeat(128)}a`)).toEqual({
      message: 'expected at most 256 bytes, found 257; shorten the pattern, for instance with `*`',
      offset: 128,
    });
  });

  it('when it has too many captures', () => {
    const captures = Array.from({ length: 33 }, (_, index) => `{p${index}}`);
    expect(compilePattern(captures.slice(1).join(':')).names).toHaveLength(32);
    expect(refusalOf(captures.join(':')).message).toBe(
      'expected at most 32 captures, found `{p32}` beyond them; write `*` for what you do not need',
    );
  });

  it('but not for a name of 64 characters', () => {
    expect(matches(`{${'n'.repeat(64)}}`, 'a')).toBe(true);
  });
});

describe('long keys', () => {
  const MEBIBYTE = 2 ** 20;
  /** Far more than a slow machine needs; an exponential matcher would not end at all. */
  const MS_MAX = 5_000;

  function fastestOf3Ms(pattern: string, key: Buffer): number {
    const compiled = compilePattern(pattern);
    const lengths = [1, 2, 3].map(() => {
      const startMs = performance.now();
      compiled.match(key);
      return performance.now() - startMs;
    });
    return Math.min(...lengths);
  }

  it.each([
    ['*a*a*a*a*a*b', false],
    ['*a*a*a*a*a*a', true],
    ['*a*a*[ab]*a*?*', true],
    ['{a}{b}{c}*{d}', true],
    ['{a}{b}{c}*{d}-*', false],
    ['{a}:{b}', false],
    ['*a{x}a{y}b*', false],
  ])('%s on 1 MiB of one letter', (pattern, taken) => {
    const key = Buffer.alloc(MEBIBYTE, 'a');
    const compiled = compilePattern(pattern);
    const startMs = performance.now();
    expect(compiled.match(key) !== null).toBe(taken);
    expect(performance.now() - startMs).toBeLessThan(MS_MAX);
  });

  it.each(['*a*a*a*a*b*', '{a}{b}{c}*{d}'])('%s takes time proportional to the key', (pattern) => {
    fastestOf3Ms(pattern, Buffer.alloc(MEBIBYTE / 4, 'a'));
    const shortMs = fastestOf3Ms(pattern, Buffer.alloc(MEBIBYTE / 8, 'a'));
    const longMs = fastestOf3Ms(pattern, Buffer.alloc(MEBIBYTE / 2, 'a'));
    // 4 times the bytes: about 4 when linear, 16 and more when not.
    expect(longMs / shortMs).toBeLessThan(12);
  });
});
