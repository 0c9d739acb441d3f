import { describe, expect, it } from 'vitest';
import type { Session } from '../../src/source/session.js';
import { ALWAYS_HELD } from '../../src/state/lease.js';
import type { Expiration } from '../../src/vocabulary.js';
import { Standby } from '../../src/watch/standby.js';
import { anExpiration } from '../support/domain.js';
import { ManualClock } from '../support/manual-clock.js';

const NOW_MS = Date.parse('2026-11-22T06:00:10.000Z');

const order = (detectedAtMs: number) => anExpiration({ key: Buffer.from('order:1'), detectedAtMs });

/** A replica that does not watch yet, and what it captures once it does. */
function aStandby(claimedMs: number | null, deadlineMs: number | null) {
  const steps: string[] = [];
  const captured: Expiration[] = [];
  const standby = new Standby({
    watch: {
      begin: () => void steps.push('begin'),
      end: async () => undefined,
    },
    lease: ALWAYS_HELD,
    deadlines: {
      claimedLately: async (keys) => keys.map(() => claimedMs),
      of: async (keys) => keys.map(() => deadlineMs),
    },
    capture: {
      expired: (expiration) => {
        steps.push('expired');
        captured.push(expiration);
      },
      noticed: () => void steps.push('noticed'),
      settled: async () => undefined,
    },
    isWanted: () => true,
    events: { watching: () => undefined } as never,
    clock: new ManualClock(),
  });
  return { standby, steps, captured, watch: () => standby.listening({} as Session) };
}

describe('a replica that comes to watch', () => {
  it('captures what it has heard, and nobody has claimed', async () => {
    const { standby, captured, watch } = aStandby(null, null);
    standby.expired(order(NOW_MS));
    await watch();
    expect(captured).toEqual([order(NOW_MS)]);
  });

  it('leaves alone what another one has claimed, though it was heard a moment later here', async () => {
    const { standby, captured, watch } = aStandby(NOW_MS - 20, null);
    standby.expired(order(NOW_MS));
    await watch();
    expect(captured).toEqual([]);
  });

  it('leaves alone what was claimed, though a busy replica heard it late, but not what came next', async () => {
    const { standby, captured, watch } = aStandby(NOW_MS, null);
    standby.expired(order(NOW_MS + 600));
    standby.expired(order(NOW_MS + 610));
    await watch();
    expect(captured).toEqual([order(NOW_MS + 610)]);
  });

  it('captures the expiration of a key when only that of its last life was claimed', async () => {
    const { standby, captured, watch } = aStandby(NOW_MS - 2_000, null);
    standby.expired(order(NOW_MS - 2_010));
    standby.expired(order(NOW_MS));
    await watch();
    expect(captured).toEqual([order(NOW_MS)]);
  });

  it.each([5_000, 100])(
    'leaves alone what was claimed of a key that has its next life: %i',
    async (ms) => {
      const { standby, captured, watch } = aStandby(NOW_MS, NOW_MS + ms);
      standby.expired(order(NOW_MS));
      await watch();
      expect(captured).toEqual([]);
    },
  );

  it('looks for what is gone unheard only once what it has heard is being captured', async () => {
    const { standby, steps, watch } = aStandby(null, null);
    standby.noticed({ kind: 'removed', database: 0, key: Buffer.from('order:1') });
    standby.expired(order(NOW_MS));
    await watch();
    expect(steps).toEqual(['noticed', 'expired', 'begin']);
  });
});
