import { PassThrough } from 'node:stream';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { printableBytes } from '../../src/lib/printable.js';
import { BufferedOutput } from '../../src/telemetry/buffered-output.js';
import { deliveredLine } from '../../src/telemetry/delivered-line.js';
import { createLog } from '../../src/telemetry/log.js';
import { aDelivery } from '../support/domain.js';
import { ManualClock } from '../support/manual-clock.js';

/** The line that the logger writes for these fields at the time of the clock. */
function logged(fields: object, nowMs: number): string {
  const stdout = new PassThrough();
  const output = new BufferedOutput(stdout);
  const silent = { onLost: () => undefined, onRegained: () => undefined };
  const clock = new ManualClock(nowMs);
  createLog({ level: 'info', format: 'json' }, output, silent, clock).info(fields, 'delivered');
  output.flush();
  return String(stdout.read());
}

it('the line of an accepted webhook is the line of the logger, byte for byte', () => {
  const numbers = fc
    .double({ min: 0, max: 1e9, noNaN: true })
    .map((ms) => Math.round(ms * 10) / 10);
  const keys = fc.oneof(
    fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes)),
    fc.string({ unit: 'binary', maxLength: 60 }).map((text) => Buffer.from(text)),
    fc.constantFrom('"},"a":{"', '\\', '\u2028').map((text) => Buffer.from(text)),
  );
  const cases = fc.record({
    key: keys,
    attempt: fc.integer({ min: 1, max: 51 }),
    database: fc.nat(),
    status: fc.integer({ min: 200, max: 299 }),
    durationMs: numbers,
    ageMs: fc.integer({ min: -5, max: 1e9 }),
    nowMs: fc.integer({ min: 0, max: 4e12 }),
  });
  fc.assert(
    fc.property(cases, ({ key, attempt, database, status, durationMs, ageMs, nowMs }) => {
      const delivery = aDelivery({ database, keyLabel: printableBytes(key) });
      const claimed = { delivery, attempt, isReplay: false };
      const { id, route, endpoint, keyLabel, detectedBy, body } = delivery;
      const line = {
        event: 'attempt',
        id,
        route,
        endpoint,
        attempt,
        database,
        key: keyLabel,
        detected_by: detectedBy,
        outcome: 'accepted',
        status,
        disposition: 'done',
        duration_ms: durationMs,
        age_ms: ageMs,
        body_bytes: body.length,
      };
      expect(deliveredLine(claimed, { nowMs, status, durationMs, ageMs })).toBe(
        logged(line, nowMs),
      );
    }),
  );
});
