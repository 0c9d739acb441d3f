import { describe, expect, it } from 'vitest';
import { type BodyFormat, contentTypeOf } from '../../src/model/body-format.js';
import type { Json, KeyValue, LookedUp } from '../../src/model/key-value.js';
import { BODY_BYTES_MAX, bodiesOf } from '../../src/payload/body.js';
import { compileTemplate, PLACEHOLDER_NAMES } from '../../src/payload/body-template.js';
import type { WebhookInput } from '../../src/payload/webhook-input.js';
import { anExpiration, aRoute, aWebhookInput } from '../support/domain.js';

const params = (given: Record<string, string | Buffer>) =>
  Object.fromEntries(Object.entries(given).map(([name, text]) => [name, Buffer.from(text)]));

const bodyOf = (given: Partial<WebhookInput>) => String(bodiesOf(aWebhookInput(given))('msg_1'));

const A_VALUE: KeyValue = {
  value: { total: '12' },
  base64: null,
  omitted: null,
  readAtMs: Date.parse('2026-11-22T06:00:09Z'),
};
const A_LOOKUP: LookedUp = {
  key: Buffer.from([0x6b, 0xff]),
  value: null,
  base64: null,
  omitted: 'gone',
  readAtMs: null,
};

describe('a route without a body', () => {
  it('has an empty one, without a type', () => {
    const format = { kind: 'none' } as const;
    expect(bodyOf({ route: aRoute({ format }) })).toBe('');
    expect(contentTypeOf(format)).toBeNull();
  });
});

describe('a body in the standard format', () => {
  const route = aRoute({ type: 'order.payment.expired', name: 'cancel-unpaid-order' });

  it('is compact JSON with its keys sorted at every level', () => {
    const expiration = anExpiration({ expiredAtMs: Date.parse('2026-11-22T06:00:10.000Z') });
    expect(bodyOf({ expiration, route, params: params({ id: '42', area: 'x' }) })).toBe(
      '{"data":{"database":0,"detected_at":"2026-11-22T06:00:10.003Z","detected_by":"notification",' +
        '"expired_at":"2026-11-22T06:00:10.000Z","key":"order:42:unpaid",' +
        '"params":{"area":"x","id":"42"},"route":"cancel-unpaid-order"},' +
        '"timestamp":"2026-11-22T06:00:10.000Z","type":"order.payment.expired"}',
    );
  });

  it('has the time of detection when the deadline was never known', () => {
    const body = JSON.parse(bodyOf({ route }));
    expect(body.data.expired_at).toBeNull();
    expect(body.timestamp).toBe('2026-11-22T06:00:10.003Z');
  });

  it('has invalid UTF-8 as U+FFFD, and the exact bytes in base64', () => {
    const key = Buffer.from([0x6b, 0xff, 0xfe, 0x31]);
    const body = JSON.parse(bodyOf({ expiration: anExpiration({ key }) }));
    expect(body.data.key).toBe('k\ufffd\ufffd1');
    expect(Buffer.from(body.data.key_base64, 'base64')).toEqual(key);
  });

  it('has every valid key unchanged, without base64', () => {
    for (const key of ['a\nb\r\t"\\', '\u001b[31m', '\ufeffbom', '\u2028', '日本', '{}', ' ']) {
      const body = JSON.parse(bodyOf({ expiration: anExpiration({ key: Buffer.from(key) }) }));
      expect(body.data).toMatchObject({ key });
      expect(body.data).not.toHaveProperty('key_base64');
    }
  });

  it('has the values that were read, and the time of reading', () => {
    const { data } = JSON.parse(bodyOf({ value: A_VALUE, lookup: A_LOOKUP }));
    expect(data).toMatchObject({
      value: { total: '12' },
      value_read_at: '2026-11-22T06:00:09.000Z',
      lookup: { key: 'k\ufffd', key_base64: 'a/8=', value: null, value_omitted: 'gone' },
    });
    expect(data.lookup.value_read_at).toBeNull();
    expect(data).not.toHaveProperty('value_base64');
    expect(data).not.toHaveProperty('value_omitted');
  });

  it('has the exact bytes of a value that is not UTF-8, and the reason for a missing one', () => {
    const value = { value: ['\ufffd'], base64: ['/w=='], omitted: null, readAtMs: 0 };
    expect(JSON.parse(bodyOf({ value })).data).toMatchObject({
      value: ['\ufffd'],
      value_base64: ['/w=='],
      value_read_at: '1970-01-01T00:00:00.000Z',
    });
  });

  it('has no fields of values and tests by default', () => {
    expect(Object.keys(JSON.parse(bodyOf({})).data)).toEqual([
      'database',
      'detected_at',
      'detected_by',
      'expired_at',
      'key',
      'params',
      'route',
    ]);
    expect(JSON.parse(bodyOf({ isTest: true })).data).toMatchObject({ test: true });
  });

  it('is built once for all endpoints', () => {
    const make = bodiesOf(aWebhookInput());
    expect(make('msg_1')).toBe(make('msg_2'));
  });
});

const templated = (template: Json): BodyFormat => ({
  kind: 'template',
  contentType: 'application/json',
  pieces: compileTemplate(template, 'application/json'),
});

describe('a body by a template', () => {
  const expiration = anExpiration({ expiredAtMs: Date.parse('2026-11-22T06:00:10.000Z') });
  const everything = Object.fromEntries(PLACEHOLDER_NAMES.map((name) => [name, `{${name}}`]));

  it('has the values of all placeholders', () => {
    const format = templated({ ...everything, id: '{id}', total: '{value.total}' });
    const route = aRoute({ format, type: 'order.late' });
    const input = { expiration, route, params: params({ id: '42' }), value: A_VALUE };
    expect(JSON.parse(bodyOf(input))).toEqual({
      database: 0,
      detected_at: '2026-11-22T06:00:10.003Z',
      detected_by: 'notification',
      expired_at: '2026-11-22T06:00:10.000Z',
      id: '42',
      key: 'order:42:unpaid',
      lookup: null,
      lookup_base64: null,
      lookup_omitted: null,
      lookup_read_at: null,
      route: 'cancel',
      timestamp: '2026-11-22T06:00:10.000Z',
      total: '12',
      type: 'order.late',
      value: { total: '12' },
      value_base64: null,
      value_omitted: null,
      value_read_at: '2026-11-22T06:00:09.000Z',
      webhook_id: 'msg_1',
    });
  });

  it('has null, and inside a string nothing, for unknown values', () => {
    const template = [
      '{expired_at}',
      'at {expired_at}',
      '{value}',
      '{value.a}',
      '{lookup.b.c}',
      '-{lookup}',
    ];
    const route = aRoute({ format: templated(template) });
    expect(JSON.parse(bodyOf({ route, lookup: A_LOOKUP }))).toEqual([
      null,
      'at ',
      null,
      null,
      null,
      '-',
    ]);
  });

  it('shows bytes that are no UTF-8 as U+FFFD', () => {
    const key = Buffer.from([0x6b, 0xff]);
    const route = aRoute({ format: templated('{key}/{id}') });
    const input = { route, expiration: anExpiration({ key }), params: { id: key } };
    expect(JSON.parse(bodyOf(input))).toBe('k\ufffd/k\ufffd');
  });

  it('is missing when it would be too large, for any reason', () => {
    const key = Buffer.alloc(1024 * 1024, 1);
    const tell = (template: Json) =>
      bodiesOf(
        aWebhookInput({
          expiration: anExpiration({ key }),
          route: aRoute({ format: templated(template) }),
        }),
      );
    expect(tell(['{key}', '{key}'])('msg_1')?.length).toBeLessThan(BODY_BYTES_MAX);
    expect(tell(['{key}', '{key}', '{key}'])('msg_1')).toBeNull();
    expect(tell('{key}'.repeat(1000))('msg_1')).toBeNull();
    const wide = Buffer.from('\u{20ac}'.repeat(340_000));
    const route = aRoute({ format: templated('{key}'.repeat(17)) });
    expect(
      bodiesOf(aWebhookInput({ expiration: anExpiration({ key: wide }), route }))('msg_1'),
    ).toBeNull();
  });
});

describe('the largest key', () => {
  it('is sent in the standard format with any bytes', () => {
    for (const byte of [1, 0xff]) {
      const key = Buffer.alloc(1024 * 1024, byte);
      const input = aWebhookInput({ expiration: anExpiration({ key }), params: { id: key } });
      expect(bodiesOf(input)('msg_1')?.length).toBeGreaterThan(key.length);
    }
  });
});
