import { describe, expect, it } from 'vitest';
import type { Expiration, Route } from '../../src/model/vocabulary.js';
import { buildDeliveries, deliveryId } from '../../src/payload/build.js';
import { compilePattern } from '../../src/routing/pattern.js';
import { anExpiration, aRoute } from '../support/domain.js';

const making = { occurrence: 'once', isTest: false, carried: new Map() };

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

  const build = (given: Partial<Expiration>, taken: readonly Route[]) => {
    const expiration = anExpiration(given);
    return buildDeliveries(expiration, taken, making);
  };

  it('makes one for each endpoint of each route that matches', () => {
    const made = build({}, routes).deliveries;
    expect(made.map(({ route, endpoint, path }) => [route, endpoint, path])).toEqual([
      ['orders', 'shop', '/o/42'],
      ['orders', 'audit', '/o/42'],
      ['all', 'shop', ''],
    ]);
    expect(new Set(made.map(({ id }) => id)).size).toBe(3);
  });

  it('makes none when no route matches', () => {
    const made = build({}, [routes[2] ?? aRoute()]);
    expect(made).toEqual({ deliveries: [], tooLarge: [] });
  });

  it('makes the key safe to print, and short', () => {
    const key = Buffer.from(`\u001b[2J\n{"level":"error"}${'x'.repeat(1000)}`);
    const { deliveries } = build({ key }, [routes[1] ?? aRoute()]);
    const [made] = deliveries;
    expect(made?.keyLabel).toMatch(/^\\x1b\[2J\\x0a\{"level":"error"\}x+…$/);
    expect(made?.keyLabel.length).toBeLessThan(220);
  });
});

describe('deliveryId', () => {
  it('is the same for the same expiration, route and endpoint, and no other', () => {
    const id = deliveryId(making, 'r', 'e');
    expect(deliveryId(making, 'r', 'e')).toBe(id);
    const others = [
      deliveryId({ ...making, occurrence: 'twice' }, 'r', 'e'),
      deliveryId(making, 'r2', 'e'),
      deliveryId(making, 'r', 'e2'),
    ];
    expect(new Set([id, ...others]).size).toBe(4);
  });

  it('contains no dot and only characters that a header allows', () => {
    const id = deliveryId({ ...making, occurrence: 'a.b' }, 'r', 'e');
    expect(id).toMatch(/^msg_[0-9a-f]{32}$/);
  });

  it('marks a test', () => {
    expect(deliveryId({ ...making, isTest: true }, 'r', 'e')).toMatch(/^msg_test_[0-9a-f]{32}$/);
  });
});
