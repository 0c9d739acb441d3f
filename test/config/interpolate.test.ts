// cspell:ignore avaluebvaluec
import { describe, expect, it } from 'vitest';
import { parseDocument } from '../../src/config/document.js';
import { interpolate, interpolateText } from '../../src/config/interpolate.js';
import { UNRESOLVED } from '../../src/config/path.js';

const env = { SET: 'value', EMPTY: '', YAML: '}\n- {a: b}\n"', DOLLAR: `\${SET}` };

describe('interpolateText', () => {
  it.each([
    ['plain', 'plain'],
    [`\${SET}`, 'value'],
    [`a\${SET}b\${SET}c`, 'avaluebvaluec'],
    [`\${EMPTY}`, ''],
    [`\${SET:-default}`, 'value'],
    [`\${UNSET:-default}`, 'default'],
    [`\${EMPTY:-default}`, 'default'],
    [`\${UNSET:-}`, ''],
    [`\${UNSET:-a:-b?}`, 'a:-b?'],
    [`\${SET:?needed}`, 'value'],
    [`$\${SET}`, `\${SET}`],
    [`$\${`, `\${`],
    ['$SET $ {SET} $$', '$SET $ {SET} $$'],
    ['{id}', '{id}'],
  ])('makes %j into %j', (text, expected) => {
    expect(interpolateText(text, env)).toMatchObject({ text: expected, mistakes: [] });
  });

  it('does not interpolate inserted values again', () => {
    expect(interpolateText(`\${DOLLAR}`, env)).toMatchObject({ text: `\${SET}` });
  });

  it.each([
    [`\${SET`, `a } after \${`],
    [`\${`, `a } after \${`],
    [`\${}`, `\${NAME}`],
    [`\${1A}`, `\${NAME}`],
    [`\${SET-x}`, `\${NAME}`],
    [`\${A:-\${B}}`, `\${NAME}`],
  ])('refuses %j', (text, expected) => {
    const { mistakes } = interpolateText(text, env);
    expect(mistakes).toHaveLength(1);
    expect(mistakes[0]?.wording).toMatchObject({ expected: expect.stringContaining(expected) });
  });

  it('names a variable that is not set', () => {
    expect(interpolateText(`\${UNSET}`, env).mistakes).toMatchObject([
      { wording: { text: 'the environment variable UNSET is not set' } },
    ]);
  });

  it.each([`\${UNSET:?ask Jo}`, `\${EMPTY:?ask Jo}`])('gives the reason of %j', (text) => {
    expect(interpolateText(text, env).mistakes).toMatchObject([
      { wording: { text: expect.stringContaining('unset or empty: ask Jo') } },
    ]);
  });

  it('finds every unset variable of one string', () => {
    expect(interpolateText(`\${A} \${B}`, env).mistakes).toHaveLength(2);
  });
});

describe('interpolate', () => {
  it('replaces variables in strings at every level, and in nothing else', () => {
    const value = { '\u0024{SET}': [`\${SET}`, 5, null, true, { a: `\${SET}` }] };
    expect(interpolate(value, env)).toMatchObject({
      value: { '\u0024{SET}': ['value', 5, null, true, { a: 'value' }] },
      complaints: [],
    });
  });

  it('cannot be made to add structure by a value that looks like YAML', () => {
    const document = parseDocument(`a: \${YAML}\nb: ["\${YAML}"]\nc: {d: "\${YAML}"}\n`);
    if (document.kind === 'broken') throw new Error('broken');
    expect(interpolate(document.value, env).value).toEqual({
      a: env.YAML,
      b: [env.YAML],
      c: { d: env.YAML },
    });
  });

  it('reports which strings contain values from the environment', () => {
    const { changed } = interpolate({ a: [`\${SET}`, 'x', `$\${`] }, env);
    expect(changed).toEqual(new Set(['["a",0]']));
  });

  it('leaves a mark for an unset variable, and reports its place', () => {
    expect(interpolate({ a: [`x\${UNSET}`] }, env)).toMatchObject({
      value: { a: [UNRESOLVED] },
      complaints: [{ path: ['a', 0] }],
    });
  });
});
