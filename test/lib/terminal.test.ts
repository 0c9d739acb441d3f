import { describe, expect, it } from 'vitest';
import { isColored, wrap } from '../../src/lib/terminal.js';

describe('colors', () => {
  it.each([
    [{ isTTY: true }, {}, true],
    [{ isTTY: true }, { NO_COLOR: '' }, true],
    [{ isTTY: true }, { NO_COLOR: '1' }, false],
    [{ isTTY: true }, { TERM: 'dumb' }, false],
    [{ isTTY: false }, {}, false],
    [{}, { TERM: 'xterm' }, false],
  ])('of the output %j with %j: %j', (output, env, expected) => {
    expect(isColored(output, env)).toBe(expected);
  });
});

describe('wrapping', () => {
  it('breaks at spaces, and leaves longer words whole', () => {
    expect(wrap('one two three four five six seven', 20)).toEqual([
      'one two three four',
      'five six seven',
    ]);
    expect(wrap(`a ${'x'.repeat(30)} b`, 20)).toEqual(['a', 'x'.repeat(30), 'b']);
    expect(wrap('one two', Number.POSITIVE_INFINITY)).toEqual(['one two']);
    expect(wrap('', 20)).toEqual(['']);
  });
});
