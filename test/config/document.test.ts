import { describe, expect, it } from 'vitest';
import { DEPTH_MAX, type Document, parseDocument } from '../../src/config/document.js';
import { SYNTAX_MISTAKES_MAX } from '../../src/config/syntax.js';

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

  it('gives the positions of keys and values', () => {
    const { positionOf } = parsed('a:\n  - x\n  - b: "y"\nc: {d: 1}\n');
    expect(positionOf(['a'], 'key')).toEqual({ line: 1, column: 1 });
    expect(positionOf(['a'], 'value')).toEqual({ line: 2, column: 3 });
    expect(positionOf(['a', 1, 'b'], 'value')).toEqual({ line: 3, column: 8 });
    expect(positionOf(['c', 'd'], 'key')).toEqual({ line: 4, column: 5 });
    expect(positionOf(['a', 0], 'key')).toEqual({ line: 2, column: 5 });
  });

  it('gives the position of the mapping in which a key is missing', () => {
    const { positionOf } = parsed('x: 1\na:\n  b: 1\nl:\n  - m: 1\n');
    expect(positionOf(['a', 'missing'], 'value')).toEqual({ line: 2, column: 1 });
    expect(positionOf(['a', 'missing', 'deeper'], 'value')).toEqual({ line: 2, column: 1 });
    expect(positionOf(['l', 0, 'missing'], 'value')).toEqual({ line: 5, column: 5 });
    expect(positionOf(['missing'], 'value')).toEqual({ line: 1, column: 1 });
  });

  it('follows aliases and merges; explicit keys win, then the first merged mapping', () => {
    const { value, positionOf, mistakes } = parsed(
      'a: &a {x: 1, y: 1}\nb: &b {y: 2, z: 2}\nc: {<<: [*a, *b], z: 3}\nd: *a\n',
    );
    expect(value).toMatchObject({ c: { x: 1, y: 1, z: 3 }, d: { x: 1, y: 1 } });
    expect(positionOf(['c', 'x'], 'value')).toEqual({ line: 1, column: 11 });
    expect(mistakes).toEqual([]);
  });

  it('resolves an alias to the last anchor before it', () => {
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
  ])('reports %j once, and parses the rest', (text) => {
    expect(parsed(text).mistakes).toHaveLength(1);
  });

  it('does not expand aliases of aliases without a limit', () => {
    const levels = Array.from({ length: 30 }, (_, n) => `a${n + 1}: &a${n + 1} [*a${n}, *a${n}]\n`);
    const document = parseDocument(`a0: &a0 x\n${levels.join('')}`);
    expect(document.kind).toBe('broken');
    expect(document.mistakes).toHaveLength(1);
    expect(parsed('&a [*a]').mistakes).toHaveLength(1);
  });

  it('limits the depth of nesting', () => {
    const nested = (depth: number) => '['.repeat(depth) + ']'.repeat(depth);
    expect(parsed(nested(DEPTH_MAX)).mistakes).toEqual([]);
    expect(parsed(nested(DEPTH_MAX + 2)).mistakes).toHaveLength(1);
  });

  it.each(['a: [', 'a: "x', 'a: b: c', 'a: @x', '- a\nb: c', 'a: x\n---\nb: y\n', 'a: "\\q"'])(
    'rejects %j with the position of the error',
    (text) => {
      const document = parseDocument(text);
      expect(document.kind).toBe('broken');
      expect(document.mistakes.length).toBeGreaterThan(0);
    },
  );

  it.each(['- ', '[', '{a: ', '? ', '[\n', ': '])(
    'reports once that %j is nested too deeply',
    (open) => {
      const { kind, mistakes } = parseDocument(open.repeat(200_000 / open.length));
      expect(kind).toBe('broken');
      expect(mistakes).toMatchObject([{ wording: { text: 'not YAML: nested too deeply' } }]);
    },
  );

  it('reports only the first of very many syntax errors', () => {
    const { mistakes } = parseDocument(`a: [${'*,'.repeat(10_000)}]`);
    expect(mistakes).toHaveLength(SYNTAX_MISTAKES_MAX);
    expect(mistakes[0]).toMatchObject({ position: { line: 1, column: 5 } });
  });

  it('does not change the setting for stack traces', () => {
    const { stackTraceLimit } = Error;
    parseDocument('a: [*]');
    expect(Error.stackTraceLimit).toBe(stackTraceLimit);
  });

  it('reports one error after which the parser cannot continue', () => {
    expect(parseDocument(`a: {b: \${X}}\nc: d\ne: f\n`).mistakes).toMatchObject([
      { position: { line: 1, column: 9 } },
    ]);
  });
});

describe('the indentation of a document', () => {
  const NBSP = '\u00a0';
  const noBreakSpace = 'not YAML: expected spaces as indentation, found a no-break space (U+00A0)';

  it.each([
    ['before a key that ends up outside', `a:\n${NBSP}${NBSP}b: 1\n`, 2, 1],
    ['after a space', `a:\n  b: 1\n ${NBSP}c: 2\n`, 3, 2],
    ['before a key of an item', `a:\n  - b: 1\n  ${NBSP}c: 2\n`, 3, 3],
    ['before an item', `a:\n${NBSP}${NBSP}- x\n`, 2, 1],
    ['before a key that another follows', `a:\n  - b: 1\n${NBSP}   c: 2\n    d: 3\n`, 3, 1],
    ['before an item with a key', `a:\n${NBSP}${NBSP}- x: 1\n`, 2, 1],
    ['before the continuation of a value', `a: |\n  x\n${NBSP}y\n`, 3, 1],
  ])('names a no-break space %s, once and with its line', (_, text, line, column) => {
    expect(parseDocument(text)).toEqual({
      kind: 'broken',
      mistakes: [
        { position: { line, column }, wording: { kind: 'statement', text: noBreakSpace } },
      ],
    });
  });

  it.each([
    ['\u3000', 'an ideographic space (U+3000)'],
    ['\u2003', 'a space (U+2003)'],
    ['\u200b', 'a zero width space (U+200B)'],
    ['\ufeff', 'a byte order mark (U+FEFF)'],
    ['\t', 'a tab'],
  ])('names the character %j', (char, name) => {
    expect(parseDocument(`a:\n${char}b: 1\n`)).toMatchObject({
      kind: 'broken',
      mistakes: [{ wording: { text: `not YAML: expected spaces as indentation, found ${name}` } }],
    });
  });

  it.each(['a:\n\tb: 1\n', 'a:\n  b: 1\n\tc: 2\n', 'a:\n - b\n\t- c\n', 'a: |\n\tx\n'])(
    'reports the tab in %j, and nothing else',
    (text) => {
      const { mistakes } = parseDocument(text);
      expect(mistakes).toHaveLength(1);
      expect(mistakes).toMatchObject([
        { wording: { text: expect.stringContaining('found a tab') } },
      ]);
    },
  );

  it.each([
    [`a:\n  b:${NBSP}1\n  c: 2\n`, 'the line contains a no-break space (U+00A0)'],
    ['a: 1\rb: 2\rc: 3\n', 'the line contains a carriage return'],
    // The parser reports only the line behind the item.
    [`a:\n  -${NBSP}b: "c"\n    d: e\n`, 'the line above contains a no-break space (U+00A0)'],
  ])('names the character in place of a space or a line end in %j', (text, expected) => {
    expect(JSON.stringify(parseDocument(text).mistakes)).toContain(expected);
  });

  it.each([`a: "${NBSP}b"\n`, `a: |\n  b\n  ${NBSP}c\n`, `a: 1 #${NBSP}x\n#${NBSP}y\nb: 2\n`])(
    'accepts a no-break space outside indentation: %j',
    (text) => {
      expect(parsed(text).mistakes).toEqual([]);
    },
  );
});

describe('the documents of a file', () => {
  it.each(['a: 1\n---\n', 'a: 1\n---', '---\na: 1\n---\n# the end\n', 'a: 1\n...\n---\n...\n'])(
    'are one where the last is empty: %j',
    (text) => {
      expect(parsed(text)).toMatchObject({ value: { a: 1 }, mistakes: [] });
    },
  );

  it('may begin with an empty one, as the output of a template does', () => {
    const { value, positionOf } = parsed('---\n---\na: 1\n');
    expect(value).toEqual({ a: 1 });
    expect(positionOf(['a'], 'key')).toEqual({ line: 3, column: 1 });
  });

  it('are refused where two are not empty', () => {
    expect(parseDocument('a: 1\n---\nb: 2\n---\n')).toMatchObject({
      kind: 'broken',
      mistakes: [{ position: { line: 2 }, wording: { text: expect.stringContaining('a second') } }],
    });
  });

  it.each(['', '\n\n', '# nothing yet\n', '---\n', '---\n---\n'])('are none in %j', (text) => {
    expect(parsed(text)).toMatchObject({ value: null, mistakes: [] });
  });
});
