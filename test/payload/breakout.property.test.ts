/** A key with any bytes stays in its configured place in a request. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { buildRequest } from '../../src/delivery/request.js';
import { textOf } from '../../src/lib/printable.js';
import type { BodyFormat, TemplateContentType } from '../../src/model/body-format.js';
import type { Json, RouteValues } from '../../src/model/key-value.js';
import type { Route } from '../../src/model/vocabulary.js';
import { compileTemplate } from '../../src/payload/body-template.js';
import { buildDeliveries } from '../../src/payload/build.js';
import { NO_VALUES } from '../../src/payload/webhook-input.js';
import { compilePattern } from '../../src/routing/pattern.js';
import { anEndpoint, anExpiration, aRoute } from '../support/domain.js';

const NOW_MS = Date.parse('2026-11-22T06:00:10.003Z');

/** Characters that end a field, string, line or segment somewhere. */
const HOSTILE = [
  '"},"admin":true,"x":{"',
  '&admin=1&order=',
  '\r\nx-admin: 1\r\n\r\n',
  '/../../admin?x=1#',
  '{value}{{key}}',
  '\\',
  '%22%26%0d%0a',
  '\u2028</script>',
  '+',
  '__proto__',
];

/** Values of `{id}`: no colon. */
const ids = fc
  .oneof(
    fc.uint8Array({ minLength: 1, maxLength: 60 }).map((bytes) => Buffer.from(bytes)),
    fc
      .array(fc.oneof(fc.constantFrom(...HOSTILE), fc.string({ unit: 'grapheme', maxLength: 5 })))
      .map((parts) => Buffer.from(`-${parts.join('')}`)),
  )
  .map((bytes) => Buffer.from(bytes.filter((byte) => byte !== 0x3a)))
  .filter((bytes) => bytes.length > 0);

const texts = fc
  .array(fc.oneof(fc.constantFrom(...HOSTILE), fc.string({ unit: 'binary', maxLength: 5 })))
  .map((parts) => parts.join(''));

const templated = (template: Json, contentType: TemplateContentType): BodyFormat => ({
  kind: 'template',
  contentType,
  pieces: compileTemplate(template, contentType),
});

/** The request that goes out for `order:<id>:unpaid`. */
function requestFor(id: Buffer, given: Partial<Route>, values: RouteValues = NO_VALUES) {
  const key = Buffer.concat([Buffer.from('order:'), id, Buffer.from(':unpaid')]);
  const route = aRoute({ patterns: [compilePattern('order:{id}:unpaid')], ...given });
  const { deliveries } = buildDeliveries(anExpiration({ key }), [route], {
    occurrence: 'once',
    isTest: false,
    carried: new Map([[route.name, values]]),
  });
  const [delivery] = deliveries;
  if (delivery === undefined) throw new Error('expected a delivery');
  return buildRequest(anEndpoint(), delivery, NOW_MS);
}

describe('a key cannot leave its place', () => {
  it('in a path or a query', () => {
    fc.assert(
      fc.property(ids, (id) => {
        // The URL standard treats their percent-encoded form as steps as well: test/payload/path-template.test.ts.
        fc.pre(!/^\.{1,2}$/.test(id.toString('latin1')));
        const { path } = requestFor(id, { path: '/orders/{id}/cancel?for={id}&x=1' });
        expect(path).toMatch(/^[A-Za-z0-9%._~/?=&-]*$/);
        const url = new URL(path, 'http://shop');
        const [, hooks, orders, segment = '', cancel, ...more] = url.pathname.split('/');
        expect([url.host, hooks, orders, cancel, more]).toEqual([
          'shop',
          'hooks',
          'orders',
          'cancel',
          [],
        ]);
        const bytes = segment.replace(/%(..)/g, (_, hex) =>
          String.fromCharCode(Number(`0x${hex}`)),
        );
        expect(bytes).toBe(id.toString('latin1'));
        expect([...url.searchParams.keys()]).toEqual(['for', 'x']);
        expect(url.searchParams.get('for')).toBe(textOf(id));
      }),
    );
  });

  it('in a JSON string, with or without other text', () => {
    const template = { order: '{id}', text: 'for {id}, by {key}', list: ['{id}'], admin: false };
    const format = templated(template, 'application/json');
    fc.assert(
      fc.property(ids, (id) => {
        const text = textOf(id);
        expect(JSON.parse(requestFor(id, { format }).body.toString())).toEqual({
          admin: false,
          list: [text],
          order: text,
          text: `for ${text}, by order:${text}:unpaid`,
        });
      }),
    );
  });

  it('in the standard format and in CloudEvents', () => {
    const formats: BodyFormat[] = [{ kind: 'standard' }, { kind: 'cloudevents', source: '/x' }];
    fc.assert(
      fc.property(ids, fc.constantFrom(...formats), (id, format) => {
        const body = JSON.parse(requestFor(id, { format }).body.toString());
        expect(body.data.params).toEqual({ id: textOf(id) });
        const plain = JSON.parse(requestFor(Buffer.from([0xff]), { format }).body.toString());
        const withoutBytes = ({ key_base64: _, ...data }: Record<string, unknown>) =>
          Object.keys(data);
        expect(Object.keys(body)).toEqual(Object.keys(plain));
        expect(withoutBytes(body.data)).toEqual(withoutBytes(plain.data));
      }),
    );
  });

  it('in a field of a form', () => {
    const format = templated(
      { order: '{id}', text: 'for {id}', admin: false },
      'application/x-www-form-urlencoded',
    );
    fc.assert(
      fc.property(ids, (id) => {
        const body = requestFor(id, { format }).body.toString();
        expect(body).toMatch(/^[A-Za-z0-9%+=&*._-]*$/);
        expect([...new URLSearchParams(body)]).toEqual([
          ['order', textOf(id)],
          ['text', `for ${textOf(id)}`],
          ['admin', 'false'],
        ]);
      }),
    );
  });

  it('in a header: only the signature and the id depend on it, and both are plain', () => {
    fc.assert(
      fc.property(ids, (id) => {
        const { headers } = requestFor(id, { path: '/{id}' });
        expect(Object.keys(headers)).toEqual(Object.keys(requestFor(Buffer.from('1'), {}).headers));
        for (const value of Object.values(headers)) expect(value).toMatch(/^[\x20-\x7e]*$/);
      }),
    );
  });

  it('and neither can a value', () => {
    const template = { a: '{value.text}', b: '-{value.text}-', c: '{value}' };
    const json = templated(template, 'application/json');
    const form = templated(template, 'application/x-www-form-urlencoded');
    fc.assert(
      fc.property(texts, (text) => {
        const read = { value: { text }, base64: null, omitted: null, readAtMs: 0 };
        const values = { value: read, lookup: null };
        const id = Buffer.from('1');
        expect(JSON.parse(requestFor(id, { format: json }, values).body.toString())).toEqual({
          a: text,
          b: `-${text}-`,
          c: { text },
        });
        const fields = new URLSearchParams(
          requestFor(id, { format: form }, values).body.toString(),
        );
        expect([...fields.keys()]).toEqual(['a', 'b', 'c']);
        expect(fields.get('b')).toBe(`-${text}-`);
      }),
    );
  });
});
