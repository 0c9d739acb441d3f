import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import * as format from '../../src/state/format.js';
import { unpackDelivery } from '../../src/state/packing.js';
import { aDelivery } from '../support/domain.js';
import { packDelivery } from '../support/packed-delivery.js';

const firstLine = (packed: Buffer) => packed.toString().split('\n')[0] ?? '';

describe('a delivery at rest', () => {
  it.each([
    aDelivery(),
    aDelivery({ method: 'PUT', contentType: 'application/x-www-form-urlencoded' }),
    aDelivery({ contentType: 'application/cloudevents+json; charset=utf-8', path: '/a' }),
    aDelivery({ contentType: null, body: Buffer.alloc(0) }),
    aDelivery({ body: Buffer.from([0, 0xff, 0x0a]), expiredAtMs: 1 }),
  ])('is read as what it was', (delivery) => {
    expect(unpackDelivery(packDelivery(delivery), delivery)).toEqual(delivery);
  });

  it('of an older relay is a POST of JSON', () => {
    const line = {
      id: 'msg_1',
      endpoint: 'shop',
      route: 'cancel',
      path: '',
      key: 'order:42:unpaid',
      database: 0,
      expired_at_ms: null,
      detected_at_ms: Date.parse('2026-11-22T06:00:10.003Z'),
      detected_by: 'notification',
    };
    const packed = Buffer.from(`${JSON.stringify(line)}\n${aDelivery().body}`);
    expect(unpackDelivery(packed, aDelivery())).toEqual(aDelivery());
    // And the other way round: an older relay finds what it knows.
    expect(JSON.parse(firstLine(packDelivery(aDelivery())))).toEqual(line);
  });

  it('says its method and content type only where an older relay would be wrong', () => {
    const put = aDelivery({ method: 'PUT' });
    expect(JSON.parse(firstLine(packDelivery(put)))).toMatchObject({ method: 'PUT' });
    expect(firstLine(packDelivery(put))).not.toContain('content_type');
  });
});

it('describes every key that it names', () => {
  const source = new URL('../../src/state/format.ts', import.meta.url);
  const [header = ''] = readFileSync(source, 'utf8').split('*/');
  const prefix = 'expiry-relay';
  const ofPrefix = Object.entries(format).flatMap(([name, keyOf]) =>
    /^(?!unrouted|own|breaker).*Key$/.test(name)
      ? [(keyOf as (prefix: string) => string)(prefix)]
      : [],
  );
  const keys = [
    ...ofPrefix,
    ...Object.values(format.endpointKeys(prefix, '<endpoint>')),
    ...Object.values(format.deadlineKeys(prefix, 0)),
    ...Object.values(format.valueKeys(prefix, 0)),
    format.unroutedKey(prefix, 0),
    format.breakerKey(prefix, '<endpoint>'),
  ].map((key) => key.replace(':0:', ':<database>:'));
  expect(ofPrefix.length).toBeGreaterThan(8);
  expect(keys.filter((key) => !header.includes(`${key} `))).toEqual([]);
});
