import { describe, expect, it } from 'vitest';
import {
  DEPTH_MAX,
  type Document,
  parseDocument,
  SYNTAX_MISTAKES_MAX,
} from '../../src/config/document.js';

function parsed(text: string): Extract<Document, { kind: 'parsed' }> {
  const document = parseDocument(text);
  if (document.kind === 'broken') throw new Error(JSON.stringify(document.mistakes));
  return document;
}

describe('parseDocument', () => {
  it('gives the plain value', () => {
    expect(parsed('a: [1, "1", x, null, true]\nb: {c: 0.5}\n1: x\n').value).toEqual({
      a: [1, '1', 'x', null, true],
      b: { c: 0.5 },
      1: 'x',
    });
  });

  it('reads YAML 1.2 even where a directive asks for 1.1', () => {
    expect(parsed('%YAML 1.1\n---\na: yes\nb: 010\nc: 2001-01-01\n').value).toEqual({
      a: 'yes',
      b: 10,
      c: '2001-01-01',
    });
  });

  it('tells where keys and values stand', () => {
    const { positionOf } = parsed('a:\n  - x\n  - b: "y"\nc: {d: 1}\n');
    expect(positionOf(['a'], 'key')).toEqual({ line: 1, column: 1 });
    expect(positionOf(['a'], 'value')).toEqual({ line: 2, column: 3 });
    expect(positionOf(['a', 1, 'b'], 'value')).toEqual({ line: 3, column: 8 });
    expect(positionOf(['c', 'd'], 'key')).toEqual({ line: 4, column: 5 });
    expect(positionOf(['a', 0], 'key')).toEqual({ line: 2, column: 5 });
  });

  it('tells where the mapping stands in which something is missing', () => {
    const { positionOf } = parsed('x: 1\na:\n  b: 1\nl:\n  - m: 1\n');
    expect(positionOf(['a', 'missing'], 'value')).toEqual({ line: 2, column: 1 });
    expect(positionOf(['a', 'missing', 'deeper'], 'value')).toEqual({ line: 2, column: 1 });
    expect(positionOf(['l', 0, 'missing'], 'value')).toEqual({ line: 5, column: 5 });
    expect(positionOf(['missing'], 'value')).toEqual({ line: 1, column: 1 });
  });

  it('follows aliases and merges; what is written out wins, then the first merged', () => {
    const { value, positionOf, mistakes } = parsed(
      'a: &a {x: 1, y: 1}\nb: &b {y: 2, z: 2}\nc: {<<: [*a, *b], z: 3}\nd: *a\n',
    );
    expect(value).toMatchObject({ c: { x: 1, y: 1, z: 3 }, d: { x: 1, y: 1 } });
    expect(positionOf(['c', 'x'], 'value')).toEqual({ line: 1, column: 11 });
    expect(mistakes).toEqual([]);
  });

  it('takes an anchor that is set again from where the alias stands', () => {
    expect(parsed('- &a 1\n- *a\n- &a 2\n- *a\n').value).toEqual([1, 1, 2, 2]);
  });

  it.each([
    ['a: 1\nb: 2\na: 3\n', 3, 1],
    ['1: x\n"1": y\n', 2, 1],
    ['a: {b: 1, b: 2}\n', 1, 11],
  ])('finds the duplicate key in %j', (text, line, column) => {
    expect(parsed(text).mistakes).toMatchObject([
      { position: { line, column }, wording: { text: expect.stringContaining('duplicate key') } },
    ]);
  });

  it.each([
    'a: *nowhere\n',
    '<<: 5\n',
    '? [a]\n: b\n',
    '__proto__: {}\n',
    'a: !foo x\n',
    'a: !!binary eA==\n',
  ])('complains once of %j, and parses the rest', (text) => {
    expect(parsed(text).mistakes).toHaveLength(1);
  });

  it('does not write out aliases of aliases without end', () => {
    const levels = Array.from({ length: 30 }, (_, n) => `a${n + 1}: &a${n + 1} [*a${n}, *a${n}]\n`);
    const document = parseDocument(`a0: &a0 x\n${levels.join('')}`);
    expect(document.kind).toBe('broken');
    expect(document.mistakes).toHaveLength(1);
    expect(parsed('&a [*a]').mistakes).toHaveLength(1);
  });

  it('limits how deep values may lie in one another', () => {
    const nested = (depth: number) => '['.repeat(depth) + ']'.repeat(depth);
    expect(parsed(nested(DEPTH_MAX)).mistakes).toEqual([]);
    expect(parsed(nested(DEPTH_MAX + 2)).mistakes).toHaveLength(1);
  });

  it.each(['a: [', 'a: "x', 'a: b: c', 'a: @x', '- a\nb: c', 'a: x\n---\nb: y\n', 'a: "\\q"'])(
    'finds %j broken, and says where',
    (text) => {
      const document = parseDocument(text);
      expect(document.kind).toBe('broken');
      expect(document.mistakes.length).toBeGreaterThan(0);
    },
  );

  it.each(['- ', '[', '{a: ', '? ', '[\n', ': '])(
    'says once that %j is nested too deeply',
    (open) => {
      const { kind, mistakes } = parseDocument(open.repeat(200_000 / open.length));
      expect(kind).toBe('broken');
      expect(mistakes).toMatchObject([{ wording: { text: 'not YAML: nested too deeply' } }]);
    },
  );

  it('tells only the first of very many syntax errors', () => {
    const { mistakes } = parseDocument(`a: [${'*,'.repeat(10_000)}]`);
    expect(mistakes).toHaveLength(SYNTAX_MISTAKES_MAX);
    expect(mistakes[0]).toMatchObject({ position: { line: 1, column: 5 } });
  });

  it('leaves the stacks of errors as it found them', () => {
    const { stackTraceLimit } = Error;
    parseDocument('a: [*]');
    expect(Error.stackTraceLimit).toBe(stackTraceLimit);
  });

  it('complains once when the parser loses its way', () => {
    expect(parseDocument(`a: {b: \${X}}\nc: d\ne: f\n`).mistakes).toMatchObject([
      { position: { line: 1, column: 9 } },
    ]);
  });
});
