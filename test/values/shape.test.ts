import { describe, expect, it } from 'vitest';
import { commandFor, ELEMENTS_MAX, omitted, valueFrom } from '../../src/values/shape.js';

const KIB = 1024;
const READ_AT_MS = 1_700_000_000_000;
const key = Buffer.from('k');
const texts = (...all: string[]) => all.map((text) => Buffer.from(text));
const read = (type: string, reply: unknown, bytesMax = KIB) =>
  valueFrom(reply, type, bytesMax, READ_AT_MS);
const many = (count: number) => Array.from({ length: count }, () => Buffer.from('x'));

describe('a value in JSON', () => {
  it.each([
    ['string', Buffer.from('hello'), 'hello', 5],
    ['string', Buffer.alloc(0), '', 0],
    ['hash', texts('a', '1', '__proto__', '2'), { a: '1', ['__proto__']: '2' }, 12],
    ['list', texts('b', 'a', 'b'), ['b', 'a', 'b'], 3],
    ['set', texts('b', 'a'), ['a', 'b'], 2],
    [
      'zset',
      texts('a', '1.5', 'b', 'inf'),
      [
        { member: 'a', score: 1.5 },
        { member: 'b', score: 'inf' },
      ],
      2,
    ],
    ['stream', [[Buffer.from('1-0'), texts('f', 'v')]], [{ id: '1-0', fields: { f: 'v' } }], 2],
    ['ReJSON-RL', Buffer.from('{"a":[1,null,true]}'), { a: [1, null, true] }, 19],
  ])('of a %s', (type, reply, value, bytes) => {
    expect(read(type, reply)).toEqual({
      value: { value, base64: null, omitted: null, readAtMs: READ_AT_MS },
      bytes,
    });
  });

  it('shows invalid UTF-8 as U+FFFD, and has all strings exactly in base64', () => {
    const bad = Buffer.from([0xff, 0x41]);
    expect(read('hash', [Buffer.from('f'), bad]).value).toMatchObject({
      value: { f: '\ufffdA' },
      base64: { 'Zg==': '/0E=' },
    });
    expect(read('string', bad).value).toMatchObject({ value: '\ufffdA', base64: '/0E=' });
  });

  it('is omitted when its strings together exceed the limit', () => {
    expect(read('list', texts('abc', 'de'), 5).value.omitted).toBeNull();
    expect(read('list', texts('abc', 'def'), 5)).toEqual(omitted('too_large', READ_AT_MS));
  });

  it.each([
    ['list', 1],
    ['set', 1],
    ['hash', 2],
    ['zset', 2],
  ])('is left out when a %s has too many elements', (type, texts) => {
    expect(read(type, many(texts * ELEMENTS_MAX), 1e9).value.omitted).toBeNull();
    expect(read(type, many(texts * (ELEMENTS_MAX + 1)), 1e9).value.omitted).toBe('too_large');
  });

  it.each(['hash', 'list', 'set', 'zset'])('is missing when a %s is empty', (type) => {
    expect(read(type, []).value.omitted).toBe('gone');
  });

  it('is an empty array of an empty stream', () => {
    expect(read('stream', []).value).toMatchObject({ value: [], omitted: null });
  });

  it('is missing when a document is missing', () => {
    expect(read('ReJSON-RL', null).value.omitted).toBe('gone');
  });
});

describe('the command that reads a value', () => {
  const wanted = { key, bytesMax: KIB };

  it('is missing for a missing key, and for an unknown type', () => {
    expect(commandFor(wanted, 'none', null)).toBe('gone');
    expect(commandFor(wanted, 'TSDB-TYPE', 100)).toBe('unsupported');
    expect(commandFor(wanted, 'constructor', 100)).toBe('unsupported');
  });

  it('is missing where the value is far above the limit, except for a part of a string', () => {
    expect(commandFor(wanted, 'hash', 100 * KIB)).toContain('HRANDFIELD');
    expect(commandFor(wanted, 'hash', KIB * KIB)).toBe('too_large');
    expect(commandFor(wanted, 'ReJSON-RL', KIB * KIB)).toBe('too_large');
    expect(commandFor(wanted, 'string', KIB * KIB)).toEqual(['GETRANGE', key, 0, KIB]);
  });

  it('reads only a part of a string where the size is unknown', () => {
    expect(commandFor(wanted, 'hash', null)).toBe('forbidden');
    expect(commandFor(wanted, 'string', null)).toEqual(['GETRANGE', key, 0, KIB]);
  });
});
