import { describe, expect, it } from 'vitest';
import { HISTORY_MAX } from '../../src/state/format.js';
import { unpackDeadLetter, unpackDelivery } from '../../src/state/packing.js';
import { entriesOf, scoreOf, UnreadableError } from '../../src/state/stored.js';
import { aDelivery } from '../support/domain.js';
import { packDelivery } from '../support/packed-delivery.js';

const PLACE = { endpoint: 'shop', id: 'msg_1' };
const [LINE = ''] = packDelivery(aDelivery()).toString().split('\n');
const lineWith = (given: object) => `${JSON.stringify({ ...JSON.parse(LINE), ...given })}\n{}`;
const deathWith = (given: object = {}) => {
  const death = { reason: 'exhausted', attempts: 3, last_outcome: null, died_at_ms: 1 };
  return Buffer.from(`${JSON.stringify({ ...death, ...given })}\n${lineWith({})}`);
};

describe('a delivery that no relay has written', () => {
  it.each([
    ['', 'expected a line of JSON and a body, found one line'],
    [LINE, 'expected a line of JSON and a body, found one line'],
    ['\n', 'not JSON'],
    ['garbage\n', 'not JSON'],
    [Buffer.from([0xff, 0x0a]), 'not JSON'],
    ['null\n', 'not a JSON object'],
    ['[]\n', 'not a JSON object'],
    ['{}\n', '"id" is not the id that it is stored under'],
    ['{"__proto__":{"id":"msg_1"}}\n', '"id" is not the id that it is stored under'],
    [lineWith({ id: 'msg_2' }), '"id" is not the id that it is stored under'],
    [lineWith({ endpoint: 'audit' }), '"endpoint" is not the endpoint that it is stored for'],
    [lineWith({ route: 'a b' }), '"route" is not the name of a route'],
    [lineWith({ path: '/a b' }), '"path" is not a path'],
    [lineWith({ path: '/a\r\nx-y: z' }), '"path" is not a path'],
    [lineWith({ method: 'CONNECT' }), '"method" is not POST, PUT, PATCH, DELETE'],
    [lineWith({ content_type: 'a\nb' }), '"content_type" is not a content type'],
    [lineWith({ key: 'a\nb' }), '"key" is not the label of a key'],
    [lineWith({ key: 'k'.repeat(10_000) }), '"key" is not the label of a key'],
    [lineWith({ database: 0.5 }), '"database" is not a whole number'],
    [lineWith({ expired_at_ms: 8.64e15 + 2 }), '"expired_at_ms" is not a time or null'],
    [lineWith({ detected_at_ms: -1 }), '"detected_at_ms" is not a time'],
    [lineWith({ detected_by: '' }), '"detected_by" is not a word'],
  ])('is refused, with what is wrong: %j', (packed, why) => {
    const read = () => unpackDelivery(Buffer.from(packed as string), PLACE);
    expect(read).toThrow(UnreadableError);
    expect(read).toThrow(why);
  });

  it('is refused under an id that no header can carry', () => {
    const id = 'a\r\nb';
    const packed = Buffer.from(lineWith({ id }));
    expect(() => unpackDelivery(packed, { endpoint: 'shop', id })).toThrow('"id" is not');
  });
});

describe('a dead letter', () => {
  it('of version 0.1 has no history', () => {
    expect(unpackDeadLetter(deathWith(), PLACE).history).toEqual([]);
  });

  it('is read with the attempts of its history that a relay can have written', () => {
    const read = (history: unknown) => unpackDeadLetter(deathWith({ history }), PLACE).history;
    const good = [1_764_360_062_123, 12, 'HTTP 500'];
    const [startedAtMs, durationMs, outcome] = good;
    const foreign = [
      ...[null, 'x', {}, [], [1], [1, 2], ['1', 2, 'dns'], [-1, 2, 'dns'], [1, 0.5, 'dns']],
      [9e15, 1, 'dns'],
      ...[1, 2, 'a\nb', '\u001b[2J', 'x'.repeat(65)].map((text) => [1, 2, text]),
    ];
    expect(read([...foreign, good, ...foreign])).toEqual([{ startedAtMs, durationMs, outcome }]);
    for (const none of [null, 'x', 7, {}, foreign]) expect(read(none)).toEqual([]);
    expect(read(Array.from({ length: 999 }, () => good))).toHaveLength(HISTORY_MAX);
  });

  it('of a newer relay, with a reason that is not known here, is read', () => {
    expect(unpackDeadLetter(deathWith({ reason: 'too_old' }), PLACE).reason).toBe('too_old');
  });

  it.each([
    ['answered 500: answered 1', 'HTTP 500: answered 1'],
    ['answered 410', 'HTTP 410'],
    ['refused_address: 169.254.1.1 is link-local', 'forbidden_address: 169.254.1.1 is link-local'],
    ['connection_refused: nobody there', 'connection_refused: nobody there'],
  ])('of version 0.1 is read with the last outcome in the current words: %s', (stored, read) => {
    const letter = unpackDeadLetter(deathWith({ last_outcome: stored }), PLACE);
    expect(letter.lastOutcome).toBe(read);
  });

  it.each([
    { reason: 'no reason' },
    { attempts: -1 },
    { last_outcome: 7 },
    { died_at_ms: 9e15 },
    { died_at_ms: null },
  ])('that no relay has written is refused: %j', (given) => {
    expect(() => unpackDeadLetter(deathWith(given), PLACE)).toThrow(UnreadableError);
  });
});

it('a score is read as Redis writes it', () => {
  expect(['inf', '-inf', '5', '-1.5'].map(scoreOf)).toEqual([
    ...[Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 5, -1.5],
  ]);
  expect(entriesOf([Buffer.from('a'), Buffer.from('inf')])).toEqual([
    { member: Buffer.from('a'), score: 'inf' },
  ]);
});
