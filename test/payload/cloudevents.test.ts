/** The expected results come from the SDK of the CloudEvents project and the JSON schema of the specification. */
import { createRequire } from 'node:module';
import { CloudEvent, HTTP } from 'cloudevents';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { contentTypeOf } from '../../src/model/body-format.js';
import { bodiesOf } from '../../src/payload/body.js';
import { dataOf, type WebhookInput } from '../../src/payload/webhook-input.js';
import { anExpiration, aRoute, aWebhookInput } from '../support/domain.js';

/** The specification's JSON schema, compiled. */
const fitsSchema = createRequire(import.meta.url)('cloudevents/dist/schema/v1.js') as {
  (event: unknown): boolean;
  errors?: unknown;
};

const route = aRoute({ format: { kind: 'cloudevents', source: '/expiry-relay/expiry-relay' } });

function eventOf(given: Partial<WebhookInput> = {}): Record<string, unknown> {
  const body = bodiesOf(aWebhookInput({ route, ...given }))('msg_1');
  return JSON.parse(String(body));
}

/** Reads the event like a receiver. */
function received(given: Partial<WebhookInput> = {}): CloudEvent<unknown> {
  const body = String(bodiesOf(aWebhookInput({ route, ...given }))('msg_1'));
  const headers = { 'content-type': String(contentTypeOf(route.format)) };
  const event = HTTP.toEvent({ headers, body });
  if (!(event instanceof CloudEvent)) throw new Error('expected one event');
  return event;
}

describe('a CloudEvents body', () => {
  const expiration = anExpiration({ expiredAtMs: Date.parse('2026-11-22T06:00:10.000Z') });

  it('is compact JSON with its keys sorted, and has the required attributes', () => {
    expect(String(bodiesOf(aWebhookInput({ route, expiration }))('msg_1'))).toBe(
      '{"data":{"database":0,"detected_at":"2026-11-22T06:00:10.003Z",' +
        '"detected_by":"notification","expired_at":"2026-11-22T06:00:10.000Z",' +
        '"key":"order:42:unpaid","params":{},"route":"cancel"},' +
        '"datacontenttype":"application/json","id":"msg_1",' +
        '"source":"/expiry-relay/expiry-relay","specversion":"1.0","subject":"order:42:unpaid",' +
        '"time":"2026-11-22T06:00:10.000Z","type":"redis.key.expired"}',
    );
  });

  it("is read by the project's SDK, with the standard format's data", () => {
    const input = { expiration, params: { id: Buffer.from('42') }, isTest: true };
    const event = received(input);
    expect(event.validate()).toBe(true);
    expect(event).toMatchObject({ id: 'msg_1', subject: 'order:42:unpaid', specversion: '1.0' });
    expect(event.data).toEqual(dataOf(aWebhookInput({ route, ...input })));
  });

  it('has the time of detection when the deadline was never known', () => {
    expect(eventOf()).toMatchObject({ time: '2026-11-22T06:00:10.003Z' });
  });

  it('has no subject for the empty key: it may not be empty', () => {
    const event = eventOf({ expiration: anExpiration({ key: Buffer.alloc(0) }) });
    expect(event).not.toHaveProperty('subject');
    expect(fitsSchema(event)).toBe(true);
  });

  it('has only characters in the subject that an attribute allows; the data has all', () => {
    const key = Buffer.from('a\n\u0000\u0085\ufdd0\u{1ffff}b');
    const event = eventOf({ expiration: anExpiration({ key }) });
    expect(event.subject).toBe('a\ufffd\ufffd\ufffd\ufffd\ufffdb');
    expect(event.data).toMatchObject({ key: key.toString() });
  });

  it('fits the schema for any key, and can be read back', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), fc.boolean(), (bytes, isTest) => {
        const key = Buffer.from(bytes);
        const input = { expiration: anExpiration({ key }), params: { id: key }, isTest };
        expect(fitsSchema(eventOf(input)), JSON.stringify(fitsSchema.errors)).toBe(true);
        expect(received(input).data).toEqual(dataOf(aWebhookInput({ route, ...input })));
      }),
    );
  });

  it('is validated by a schema that rejects invalid events', () => {
    const { id: _, ...without } = eventOf();
    expect(fitsSchema(without)).toBe(false);
    expect(fitsSchema({ ...eventOf(), subject: '' })).toBe(false);
    expect(fitsSchema({ ...eventOf(), time: 'yesterday' })).toBe(false);
  });
});
