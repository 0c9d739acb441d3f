import fc from 'fast-check';
import { stringify } from 'safe-stable-stringify';
import { expect, it } from 'vitest';
import type { KeyValue } from '../../src/model/key-value.js';
import { standardBody } from '../../src/payload/standard-body.js';
import { dataOf, timestampOf, type WebhookInput } from '../../src/payload/webhook-input.js';
import { compilePattern } from '../../src/routing/pattern.js';
import { anExpiration, aRoute } from '../support/domain.js';

const timesMs = fc.integer({ min: 0, max: 8.64e15 });

const bytes = fc.oneof(
  fc.uint8Array({ minLength: 1, maxLength: 40 }).map((array) => Buffer.from(array)),
  fc.string({ unit: 'binary', minLength: 1, maxLength: 40 }).map((text) => Buffer.from(text)),
  fc
    .constantFrom('"},"a":{"', '\\', '\u2028\u0000', '\ud800', '__proto__')
    .map((t) => Buffer.from(t)),
);

const values: fc.Arbitrary<KeyValue> = fc.record({
  value: fc.jsonValue({ maxDepth: 2 }) as fc.Arbitrary<KeyValue['value']>,
  base64: fc.option(fc.base64String()),
  omitted: fc.option(fc.constantFrom('gone', 'too_large')),
  readAtMs: fc.option(timesMs),
});

const inputs: fc.Arbitrary<WebhookInput> = fc.record({
  expiration: fc
    .record({
      key: bytes,
      database: fc.nat(),
      expiredAtMs: fc.option(timesMs),
      detectedAtMs: timesMs,
      detectedBy: fc.constantFrom('notification' as const, 'recovery' as const),
    })
    .map(anExpiration),
  route: fc
    .record({
      name: fc.constantFrom('a', 'route-1'),
      type: fc.constantFrom('redis.key.expired', 'x.y_z'),
    })
    .map(aRoute),
  params: fc.dictionary(fc.constantFrom('id', 'area', 'Z', 'a1', 'name'), bytes),
  value: fc.option(values),
  lookup: fc.option(fc.tuple(values, bytes).map(([value, key]) => ({ ...value, key }))),
  isTest: fc.boolean(),
});

/** The same body by a serializer. */
function serialized(input: WebhookInput): string | undefined {
  const { expiration, route } = input;
  return stringify({ type: route.type, timestamp: timestampOf(expiration), data: dataOf(input) });
}

it('the standard body is the JSON of its data with sorted keys, byte for byte', () => {
  fc.assert(
    fc.property(inputs, (input) => {
      expect(standardBody(input)).toBe(serialized(input));
    }),
    { numRuns: 2_000 },
  );
});

it('the standard body has the captures of a pattern', () => {
  const key = Buffer.from('order:"4\\2":unpaid');
  const params = compilePattern('order:{id}:{state}').match(key) ?? {};
  const input = {
    expiration: anExpiration({ key }),
    route: aRoute(),
    params,
    value: null,
    lookup: null,
    isTest: false,
  };
  expect(standardBody(input)).toBe(serialized(input));
});
