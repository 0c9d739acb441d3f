import { pino } from 'pino';
import { describe, expect, it } from 'vitest';
import { LiveEndpoint, LOOK_EVERY_MS } from '../../src/delivery/live-endpoint.js';
import { systemClock } from '../../src/lib/clock.js';
import type { Endpoint, FilesNow } from '../../src/model/endpoint.js';
import { Secret } from '../../src/model/secret.js';
import { DeliveryEvents } from '../../src/telemetry/delivery-events.js';
import { Metrics } from '../../src/telemetry/metrics.js';
import { anEndpoint, TEST_SECRET } from '../support/domain.js';
import { ManualClock } from '../support/manual-clock.js';

/** An endpoint whose file readings are given by a test; after the last one, nothing changes. */
function aLiveEndpoint(...found: FilesNow<Endpoint>[]) {
  const clock = new ManualClock();
  const lines: { event: string }[] = [];
  const log = pino({ level: 'trace' }, { write: (line: string) => lines.push(JSON.parse(line)) });
  const looks = found.values();
  const files = {
    look: async (): Promise<FilesNow<Endpoint>> => looks.next().value ?? { kind: 'same' },
  };
  const endpoint = anEndpoint({ files });
  const metrics = new Metrics({ endpoints: new Map([[endpoint.name, endpoint]]), routes: [] });
  const live = new LiveEndpoint(endpoint, new DeliveryEvents(log, metrics, clock), clock);
  const isStale = async () =>
    (await metrics.text(systemClock.turn)).includes(
      'expiry_relay_credentials_stale{endpoint="shop"} 1',
    );
  return { live, endpoint, clock, isStale, events: () => lines.map(({ event }) => event), lines };
}

const other = anEndpoint({ secrets: [new Secret(TEST_SECRET)] });
const CHANGED: FilesNow<Endpoint> = { kind: 'changed', held: other };
const GONE: FilesNow<Endpoint> = {
  kind: 'unusable',
  problem: 'headers.x.file: no such file',
};

describe('an endpoint with files', () => {
  it('is replaced as soon as they have changed', async () => {
    const { live, endpoint, clock, events } = aLiveEndpoint({ kind: 'same' }, CHANGED);
    live.start();
    await clock.advance(LOOK_EVERY_MS);
    expect(live.current).toBe(endpoint);
    await clock.advance(LOOK_EVERY_MS);
    expect(live.current).toBe(other);
    expect(events()).toEqual(['credentials_reloaded']);
    await live.stop();
    expect(clock.timers).toBe(0);
  });

  it('keeps the last contents while they are unusable, and logs the beginning and the end once', async () => {
    const { live, clock, events, lines, isStale } = aLiveEndpoint(CHANGED, GONE, GONE, CHANGED);
    live.start();
    await clock.advance(LOOK_EVERY_MS);
    expect(await isStale()).toBe(false);
    await clock.advance(2 * LOOK_EVERY_MS);
    expect(live.current).toBe(other);
    expect(await isStale()).toBe(true);
    expect(lines.at(-1)).toMatchObject({ reason: 'headers.x.file: no such file' });
    await clock.advance(LOOK_EVERY_MS);
    expect(await isStale()).toBe(false);
    expect(events()).toEqual([
      'credentials_reloaded',
      'credentials_unusable',
      'credentials_reloaded',
    ]);
    await live.stop();
  });
});

it('an endpoint without files is never reloaded', async () => {
  const clock = new ManualClock();
  const endpoint = anEndpoint();
  const metrics = new Metrics({ endpoints: new Map([[endpoint.name, endpoint]]), routes: [] });
  const events = new DeliveryEvents(pino({ level: 'silent' }), metrics, clock);
  const live = new LiveEndpoint(endpoint, events, clock);
  live.start();
  expect(clock.timers).toBe(0);
  await live.stop();
});
