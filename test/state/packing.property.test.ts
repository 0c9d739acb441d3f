import fc from 'fast-check';
import { expect, it } from 'vitest';
import { printableBytes } from '../../src/lib/printable.js';
import { METHODS } from '../../src/model/body-format.js';
import { packHead, unpackDelivery } from '../../src/state/packing.js';
import { aDelivery } from '../support/domain.js';
import { packDelivery } from '../support/packed-delivery.js';

const timesMs = fc.integer({ min: 0, max: 8.64e15 });

it('the head of a delivery is its JSON, and the delivery reads back, whatever its key and path are', () => {
  const deliveries = fc
    .record({
      keyLabel: fc.uint8Array({ maxLength: 300 }).map((bytes) => printableBytes(bytes)),
      path: fc.constantFrom('', '/a%20b', '/orders/%22/x?a=1&b=%5C'),
      method: fc.constantFrom(...METHODS),
      contentType: fc.constantFrom(
        null,
        'application/json' as const,
        'application/x-www-form-urlencoded' as const,
      ),
      database: fc.nat(),
      expiredAtMs: fc.option(timesMs),
      detectedAtMs: timesMs,
      detectedBy: fc.constantFrom('notification' as const, 'recovery' as const),
      body: fc.uint8Array({ maxLength: 100 }).map((bytes) => Buffer.from(bytes)),
    })
    .map((given) => aDelivery(given));
  fc.assert(
    fc.property(deliveries, (delivery) => {
      const head = packHead(delivery);
      expect(`${JSON.stringify(JSON.parse(head))}\n`).toBe(head);
      expect(unpackDelivery(packDelivery(delivery), delivery)).toEqual(delivery);
    }),
  );
});
