import { describe, expect, it } from 'vitest';
import { buildBody, buildDeliveries, deliveryId } from '../../src/capture/build.js';
import { compilePattern } from '../../src/match.js';
import { anExpiration, aRoute } from '../support/domain.js';

const params = (given: Record<string, string | Buffer>) =>
  Object.fromEntries(Object.entries(given).map(([name, text]) => [name, Buffer.from(text)]));

describe('buildBody', () => {
  const route = aRoute({ type: 'order.payment.expired', name: 'cancel-unpaid-order' });

  it('is compact JSON with its keys sorted at every level', () => {
    const expiration = anExpiration({ expiredAtMs: Date.parse('2026-11-22T06:00:10.000Z') });
    expect(buildBody(expiration, route, params({ id: '42', area: 'x' })).toString()).toBe(
      '{"data":{"database":0,"detected_at":"2026-11-22T06:00:10.003Z","detected_by":"notification",' +
        '"expired_at":"2026-11-22T06:00:10.000Z","key":"order:42:unpaid",' +
        '"params":{"area":"x","id":"42"},"route":"cancel-unpaid-order"},' +
        '"timestamp":"2026-11-22T06:00:10.000Z","type":"order.payment.expired"}',
    );
  });

  it('takes the time of detection when the deadline was never known', () => {
    const body = JSON.parse(buildBody(anExpiration(), route, {}).toString());
    expect(body.data.expired_at).toBeNull();
    expect(body.timestamp).toBe('2026-11-22T06:00:10.003Z');
  });

  it('shows bytes that are no UTF-8 as U+FFFD, and the exact ones in base64', () => {
    const key = Buffer.from([0x6b, 0xff, 0xfe, 0x31]);
    const body = JSON.parse(buildBody(anExpiration({ key }), route, {}).toString());
    expect(body.data.key).toBe('k\ufffd\ufffd1');
    expect(Buffer.from(body.data.key_base64, 'base64')).toEqual(key);
  });

  it('keeps every valid key as it is, without base64', () => {
    for (const key of ['a\nb\r\t"\\', '\u001b[31m', '\ufeffbom', '\u2028', '日本', '{}', ' ']) {
      const body = JSON.parse(
        buildBody(anExpiration({ key: Buffer.from(key) }), route, {}).toString(),
      );
      expect(body.data).toMatchObject({ key });
      expect(body.data).not.toHaveProperty('key_base64');
    }
  });
});

describe('buildDeliveries', () => {
  const routes = [
    aRoute({
      name: 'orders',
      patterns: [compilePattern('order:{id}'), compilePattern('order:{id}:unpaid')],
      to: ['shop', 'audit'],
      path: '/o/{id}',
    }),
    aRoute({ name: 'all', patterns: [compilePattern('*')] }),
    aRoute({ name: 'sessions', patterns: [compilePattern('session:*')] }),
  ];

  it('makes one for each endpoint of each route that matches', () => {
    const made = buildDeliveries(anExpiration(), routes, 'once');
    expect(made.map(({ route, endpoint, path }) => [route, endpoint, path])).toEqual([
      ['orders', 'shop', '/o/42'],
      ['orders', 'audit', '/o/42'],
      ['all', 'shop', ''],
    ]);
    expect(new Set(made.map(({ id }) => id)).size).toBe(3);
  });

  it('makes none when no route matches', () => {
    expect(buildDeliveries(anExpiration(), [routes[2] ?? aRoute()], 'once')).toEqual([]);
  });

  it('makes the key safe to print, and short', () => {
    const key = Buffer.from(`\u001b[2J\n{"level":"error"}${'x'.repeat(1000)}`);
    const [made] = buildDeliveries(anExpiration({ key }), [routes[1] ?? aRoute()], 'once');
    expect(made?.keyLabel).toMatch(/^\\x1b\[2J\\x0a\{"level":"error"\}x+…$/);
    expect(made?.keyLabel.length).toBeLessThan(220);
  });
});

describe('deliveryId', () => {
  it('is the same for the same expiration, route and endpoint, and no other', () => {
    const id = deliveryId('once', 'r', 'e');
    expect(deliveryId('once', 'r', 'e')).toBe(id);
    const others = [
      deliveryId('twice', 'r', 'e'),
      deliveryId('once', 'r2', 'e'),
      deliveryId('once', 'r', 'e2'),
    ];
    expect(new Set([id, ...others]).size).toBe(4);
  });

  it('holds no dot and nothing that a header could not', () => {
    expect(deliveryId('a.b', 'r', 'e')).toMatch(/^msg_[0-9a-f]{32}$/);
  });
});
