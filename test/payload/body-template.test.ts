import { describe, expect, it } from 'vitest';
import type { Reference, TemplateContentType } from '../../src/model/body-format.js';
import type { Json } from '../../src/model/key-value.js';
import {
  compileTemplate,
  fillTemplate,
  partsOf,
  valueIn,
} from '../../src/payload/body-template.js';

const JSON_TYPE = 'application/json';
const FORM = 'application/x-www-form-urlencoded';

/** Fills in `values` by their names; null for all others. */
function filled(
  template: Json,
  values: Record<string, Json>,
  type: TemplateContentType = JSON_TYPE,
) {
  const standsFor = ({ name, fields }: Reference) => valueIn(values[name] ?? null, fields);
  return fillTemplate(compileTemplate(template, type), standsFor, 10_000);
}

describe('a string of a template', () => {
  it.each([
    ['order', ['order']],
    ['', []],
    ['{id}', [{ name: 'id', fields: [] }]],
    ['a{id}b{id}', ['a', { name: 'id', fields: [] }, 'b', { name: 'id', fields: [] }]],
    ['{value.a.0.b c-d}', [{ name: 'value', fields: ['a', '0', 'b c-d'] }]],
    ['{{id}}', ['{', 'id', '}']],
    ['{{{id}}}', ['{', { name: 'id', fields: [] }, '}']],
  ])('%j holds %j', (text, parts) => {
    expect(partsOf(text)).toEqual(parts);
  });

  it.each([
    '{',
    '}',
    'a{id',
    'id}',
    '{}',
    '{ id }',
    '{a b}',
    '{1}',
    '{value.}',
    '{value..a}',
    '{"a":1}',
  ])('is wrong when it is %j', (text) => {
    expect(partsOf(text)).toBeNull();
  });
});

describe('a template as JSON', () => {
  it('is compact, with keys sorted at every level and lists in their order', () => {
    const template = { b: [3, 'x', null, { d: 1, c: true }], a: 1.5, '': {}, e: [] };
    expect(filled(template, {})).toBe('{"":{},"a":1.5,"b":[3,"x",null,{"c":true,"d":1}],"e":[]}');
  });

  it('keeps the type of a value if a string is only its placeholder', () => {
    const values = { n: 3, no: null, yes: true, list: [1, { b: 2, a: 1 }], text: '3' };
    const template = { n: '{n}', no: '{no}', yes: '{yes}', list: '{list}', text: '{text}' };
    expect(filled(template, values)).toBe(
      '{"list":[1,{"a":1,"b":2}],"n":3,"no":null,"text":"3","yes":true}',
    );
  });

  it('inserts text between other text, and nothing for null', () => {
    const values = { n: 3, no: null, yes: false, list: [1, 'x'], text: 'a"b' };
    expect(filled('{n}-{no}-{yes}-{list}-{text}', values)).toBe('"3--false-[1,\\"x\\"]-a\\"b"');
  });

  it('does not change keys of mappings, and writes doubled braces as single ones', () => {
    expect(filled({ '{id}': '{{id}}' }, { id: 'x' })).toBe('{"{id}":"{id}"}');
  });

  it('does not interpret inserted values', () => {
    expect(filled(['{a}', 'x{a}'], { a: '{b}', b: 'no' })).toBe('["{b}","x{b}"]');
  });

  it('may be a single string', () => {
    expect(filled('{v}', { v: { a: 1 } })).toBe('{"a":1}');
  });

  it('is abandoned when it would become too long', () => {
    const pieces = compileTemplate(['{a}', '{a}'], JSON_TYPE);
    const tell = () => 'x'.repeat(45);
    expect(fillTemplate(pieces, tell, 97)).toHaveLength(97);
    expect(fillTemplate(pieces, tell, 96)).toBeNull();
  });
});

describe('a template as a form', () => {
  it('has its fields in order, each percent-encoded', () => {
    const template = { 'b&': 'x {id}', a: 1, none: null, yes: true, both: '{id}{id}' };
    expect(filled(template, { id: 'é&=+ %\n' }, FORM)).toBe(
      'b%26=x+%C3%A9%26%3D%2B+%25%0A&a=1&none=&yes=true&' +
        'both=%C3%A9%26%3D%2B+%25%0A%C3%A9%26%3D%2B+%25%0A',
    );
  });

  it('writes inserted lists and mappings as JSON', () => {
    const body = filled({ v: '{v}' }, { v: { b: [1], a: 'x' } }, FORM);
    expect(new URLSearchParams(body ?? '').get('v')).toBe('{"a":"x","b":[1]}');
  });
});

describe('the path into a value', () => {
  const value = { a: [{ b: 'x' }, 'y'], length: 1, '0': 'zero' };

  it.each<[readonly string[], Json]>([
    [[], value],
    [['a', '0', 'b'], 'x'],
    [['a', '1'], 'y'],
    [['0'], 'zero'],
    [['length'], 1],
    [['a', '2'], null],
    [['a', 'length'], null],
    [['a', '-1'], null],
    [['a', '00'], null],
    [['a', '0', 'b', '0'], null],
    [['toString'], null],
    [['__proto__'], null],
    [['constructor', 'name'], null],
  ])('%j leads to %j', (fields, found) => {
    expect(valueIn(value, fields)).toEqual(found);
  });

  it('continues into a string of JSON, as in many sessions', () => {
    const text = '{"user":{"id":7,"big":12345678901234567890},"tags":["a"]}';
    expect(valueIn(text, ['user', 'id'])).toBe(7);
    expect(valueIn(text, ['tags', '0'])).toBe('a');
    // It has no exact value.
    expect(valueIn(text, ['user', 'big'])).toBeNull();
    expect(valueIn(text, [])).toBe(text);
    for (const other of ['', '{', '"text"', '7', 'null', '{"__proto__":{"x":1}}']) {
      expect(valueIn(other, ['x'])).toBeNull();
    }
  });
});
