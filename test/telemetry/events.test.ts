import { pino } from 'pino';
import { describe, expect, it } from 'vitest';
import { systemClock } from '../../src/lib/clock.js';
import type { BreakerState } from '../../src/model/vocabulary.js';
import type { Depth } from '../../src/outbox/outbox.js';
import { compilePattern } from '../../src/routing/pattern.js';
import { note, ok, problem, type ServerFinding, warning } from '../../src/server/finding.js';
import { createEvents } from '../../src/telemetry/events.js';
import { Metrics } from '../../src/telemetry/metrics.js';
import { aDelivery, anEndpoint, anExpiration, aRoute, deadOf, retryAt } from '../support/domain.js';
import { ManualClock } from '../support/manual-clock.js';

function someEvents(level = 'trace') {
  const lines: Record<string, unknown>[] = [];
  const formatters = { level: (label: string) => ({ level: label }) };
  const write = (line: string) => void lines.push(JSON.parse(line));
  const log = pino({ level, formatters }, { write });
  const endpoint = anEndpoint();
  const metrics = new Metrics({
    endpoints: new Map([[endpoint.name, endpoint]]),
    routes: [aRoute({ patterns: [compilePattern('*')] })],
  });
  const clock = new ManualClock();
  const value = async (series: string) => {
    const line = (await metrics.text(systemClock.turn))
      .split('\n')
      .find((text) => text.startsWith(`${series} `));
    return line === undefined ? null : Number(line.slice(series.length));
  };
  return { events: createEvents(log, metrics, clock), lines, clock, metrics, value };
}

it('a connection that the admin port cannot accept is logged once a minute', async () => {
  const { events, lines, clock } = someEvents();
  for (let count = 0; count < 100; count += 1) {
    events.relay.connectionNotAccepted(new Error('accept ENFILE'));
  }
  expect(lines).toMatchObject([{ event: 'admin_accept_failed', error: 'accept ENFILE' }]);
  clock.jump(60_000);
  events.relay.connectionNotAccepted(new Error('accept ENFILE'));
  expect(lines).toHaveLength(2);
});

describe('an overflow', () => {
  it('counts each lost webhook, and is logged at once but not for each', async () => {
    const { events, lines, clock, value } = someEvents();
    for (let count = 0; count < 100; count += 1) events.capture.outboxFull([aDelivery()]);
    expect(lines).toMatchObject([{ event: 'outbox_full', endpoint: 'shop', dropped: 1 }]);
    await clock.advance(10_000);
    expect(lines[1]).toMatchObject({ event: 'outbox_full', dropped: 99 });
    expect(await value('expiry_relay_deliveries_dropped_total{endpoint="shop"}')).toBe(100);
    expect(clock.timers).toBe(0);
  });

  it('is logged completely at a stop, and leaves no timer behind', () => {
    const { events, lines, clock } = someEvents();
    for (let count = 0; count < 3; count += 1) events.capture.queueFull();
    events.capture.flush();
    expect(lines.map(({ event, dropped }) => [event, dropped])).toEqual([
      ['queue_full', 1],
      ['queue_full', 2],
    ]);
    expect(clock.timers).toBe(0);
  });
});

describe('a webhook whose body would be too large', () => {
  it('is counted and logged, with only a label of its key', async () => {
    const { events, lines, value } = someEvents();
    const expiration = anExpiration({ key: Buffer.from(`\n${'x'.repeat(5_000)}`) });
    events.capture.deliveriesOversized(expiration, [{ route: 'cancel', endpoint: 'shop' }], 16);
    expect(lines).toMatchObject([
      { event: 'delivery_oversized', route: 'cancel', key_bytes: 5_001, body_bytes_max: 16 },
    ]);
    expect(`${lines[0]?.key}`).toMatch(/^\\x0ax+…$/);
    expect(await value('expiry_relay_deliveries_oversized_total{endpoint="shop"}')).toBe(1);
  });
});

describe('an attempt', () => {
  const report = {
    claimed: { delivery: aDelivery(), attempt: 2, isReplay: false },
    durationMs: 12.34,
    decidedAtMs: 7_000,
    endedAtMs: Date.parse('2026-11-22T06:00:11.000Z'),
  };

  it('is one wide line, without the body', () => {
    const { events, lines } = someEvents();
    events.delivery.attempted({
      ...report,
      outcome: { kind: 'rejected', status: 500, retryAfterMs: null, location: null, answer: 'no' },
      disposition: retryAt(report.decidedAtMs + 5_000),
    });
    expect(lines).toHaveLength(1);
    expect(lines[0]).toMatchObject({
      event: 'attempt',
      id: 'msg_1',
      route: 'cancel',
      endpoint: 'shop',
      attempt: 2,
      key: 'order:42:unpaid',
      outcome: 'rejected',
      status: 500,
      response_body: 'no',
      disposition: 'retry',
      retry_in_ms: 5_000,
      duration_ms: 12.3,
      age_ms: 997,
    });
    expect(JSON.stringify(lines)).not.toContain('redis.key.expired');
  });

  it('is a warning when it will be repeated and an error when it is given up', () => {
    const { events, lines } = someEvents();
    const outcome = {
      kind: 'unreachable',
      reason: 'timeout',
      code: '',
      detail: 'no answer',
    } as const;
    events.delivery.attempted({
      ...report,
      outcome: { kind: 'accepted', status: 204, answer: '' },
      disposition: { kind: 'done' },
    });
    events.delivery.attempted({
      ...report,
      outcome,
      disposition: retryAt(0),
    });
    events.delivery.attempted({
      ...report,
      outcome,
      disposition: deadOf('exhausted'),
    });
    expect(lines.map(({ level }) => level)).toEqual(['info', 'warn', 'error']);
    expect(lines[2]).toMatchObject({
      disposition: 'dead',
      reason: 'timeout',
      dead_reason: 'exhausted',
    });
  });

  it('reports a malformed response: each time in its line, and once a minute as a warning', () => {
    const { events, lines } = someEvents();
    const rejected = { kind: 'rejected', status: 503, retryAfterMs: null, location: null } as const;
    for (let n = 0; n < 3; n += 1) {
      events.delivery.attempted({
        ...report,
        outcome: { ...rejected, answer: '', malformed: 'cut', unreadableRetryAfter: 'soon' },
        disposition: retryAt(0),
      });
    }
    const of = (event: string) => lines.filter((line) => line.event === event);
    expect(of('attempt')).toHaveLength(3);
    expect(of('attempt')[2]).toMatchObject({ malformed: 'cut', retry_after_invalid: 'soon' });
    expect(of('response_malformed')).toMatchObject([{ endpoint: 'shop', error: 'cut' }]);
    expect(of('retry_after_invalid')).toMatchObject([{ endpoint: 'shop', retry_after: 'soon' }]);
  });

  it('is counted by its outcome', async () => {
    const { events, value } = someEvents();
    events.delivery.attempted({
      ...report,
      outcome: { kind: 'accepted', status: 204, answer: '' },
      disposition: { kind: 'done' },
    });
    const series = (outcome: string) =>
      `expiry_relay_attempts_total{endpoint="shop",outcome="${outcome}"}`;
    expect(await value(series('accepted'))).toBe(1);
    expect(await value(series('rejected'))).toBe(0);
    expect(await value('expiry_relay_attempt_duration_seconds_count{endpoint="shop"}')).toBe(1);
  });
});

describe('an expiration', () => {
  it('is counted once for each matching route, for any number of endpoints', async () => {
    const { events, value } = someEvents();
    events.capture.expired(anExpiration(), [aDelivery(), aDelivery({ endpoint: 'other' })]);
    const series = 'expiry_relay_expirations_total{route="cancel",detected_by="notification"}';
    expect(await value(series)).toBe(1);
  });
});

const EMPTY: Depth = {
  pending: 0,
  oldestDueForMs: null,
  deadLetters: 0,
  throttledForMs: 0,
  paused: null,
};

describe('the metrics', () => {
  it('all begin with expiry_relay_ and start at zero, except those of the loaded configuration', async () => {
    const { metrics } = someEvents();
    metrics.watchOutbox(async () => EMPTY);
    const series = (await metrics.text(systemClock.turn))
      .split('\n')
      .filter((line) => /^[^#]/.test(line));
    expect(series.length).toBeGreaterThan(10);
    const loaded = series.filter((line) => line.startsWith('expiry_relay_config_'));
    expect(loaded).toContain('expiry_relay_config_last_reload_successful 1');
    for (const line of series) {
      if (!loaded.includes(line)) expect(line).toMatch(/^expiry_relay_\S+ 0$/);
    }
  });

  it('have the names of standard dashboards for the process, and include the version', async () => {
    const { metrics, value } = someEvents();
    metrics.watchProcess('1.2.3');
    expect(await value('process_resident_memory_bytes')).toBeGreaterThan(0);
    expect(await value('nodejs_eventloop_lag_seconds')).not.toBeNull();
    expect(await value('expiry_relay_build_info{version="1.2.3"}')).toBe(1);
    expect(await metrics.text(systemClock.turn)).not.toMatch(/expiry_relay_(process|nodejs)_/);
  });

  it('have a help text that is a sentence', async () => {
    const { metrics } = someEvents();
    metrics.watchOutbox(async () => EMPTY);
    const helps = (await metrics.text(systemClock.turn)).match(/^# HELP .*$/gm) ?? [];
    expect(helps.length).toBeGreaterThan(30);
    for (const help of helps) expect(help).toMatch(/^# HELP \w+ [A-Z].*[^.]\.$/);
    const counters = helps.filter((help) => /^# HELP \w+_total /.test(help));
    for (const help of counters) expect(help).toMatch(/^# HELP \w+ Total /);
  });

  it('include the number and age of pending deliveries', async () => {
    const { metrics, value } = someEvents();
    metrics.watchOutbox(async () => ({
      pending: 7,
      oldestDueForMs: 2_500,
      deadLetters: 3,
      throttledForMs: 1_500,
      paused: { sinceMs: 1, by: 'alice', reason: null },
    }));
    expect(await value('expiry_relay_outbox_pending{endpoint="shop"}')).toBe(7);
    expect(await value('expiry_relay_outbox_oldest_seconds{endpoint="shop"}')).toBe(2.5);
    expect(await value('expiry_relay_dead_letters{endpoint="shop"}')).toBe(3);
    expect(await value('expiry_relay_endpoint_throttled_seconds{endpoint="shop"}')).toBe(1.5);
    expect(await value('expiry_relay_endpoint_paused{endpoint="shop"}')).toBe(1);
  });
});

describe('a circuit breaker', () => {
  it('is logged as a warning once, until it is closed', () => {
    const { events, lines } = someEvents('info');
    const opened = { kind: 'opened', openMs: 1_000 } as const;
    for (const change of [opened, opened, { kind: 'limited' } as const]) {
      events.delivery.breakerChanged('shop', change);
    }
    for (const change of [{ kind: 'closed' } as const, { kind: 'limited' } as const]) {
      events.delivery.breakerChanged('shop', change);
    }
    expect(lines).toMatchObject([
      { level: 'warn', event: 'breaker_opened', endpoint: 'shop', open_ms: 1_000 },
      { level: 'info', event: 'breaker_opened' },
      { level: 'info', event: 'breaker_half_open' },
      { level: 'info', event: 'breaker_closed' },
      { level: 'warn', event: 'breaker_half_open' },
    ]);
  });

  it('is shown by the metric of its replica', async () => {
    const { events, value } = someEvents();
    const series = 'expiry_relay_breaker_state{endpoint="shop"}';
    expect(await value(series)).toBe(0);
    let state: BreakerState = 'open';
    events.delivery.watchBreaker('shop', () => state);
    expect(await value(series)).toBe(2);
    state = 'half_open';
    expect(await value(series)).toBe(1);
  });
});

describe('a repeated failure', () => {
  it('is logged once a minute, and at once when it changes', async () => {
    const { events, lines, clock } = someEvents();
    const failures = () => lines.map(({ error }) => error);
    for (let count = 0; count < 50; count += 1) {
      events.watch.watchFailed('no memory');
      await clock.advance(1_000);
    }
    expect(failures()).toEqual(['no memory']);
    events.watch.watchFailed('no connection');
    expect(failures()).toEqual(['no memory', 'no connection']);
    await clock.advance(10_000);
    events.watch.watchFailed('no memory');
    events.watch.watchFailed('no connection');
    expect(failures()).toEqual(['no memory', 'no connection', 'no memory']);
  });

  it('is logged for values regardless of the error, since it affects every key', async () => {
    const { events, lines, clock } = someEvents();
    events.values.unreadable('no permission for GET');
    events.values.unreadable('no permission for HRANDFIELD');
    events.values.stale('no connection');
    expect(lines.map(({ event }) => event)).toEqual(['value_unreadable', 'value_stale']);
    await clock.advance(60_000);
    events.values.unreadable('no permission for GET');
    expect(lines).toHaveLength(3);
  });
});

describe('a finding about a server', () => {
  const policy = warning('eviction', 'keys are evicted', 'give it more memory');
  const replica = problem('role', 'it is a replica', null);

  it('is logged when it begins and when it ends, and not in between', () => {
    const { events, lines } = someEvents('info');
    const say = (...findings: ServerFinding[]) => events.source.server('redis:6379', findings);
    say(ok('role', 'a primary'), policy);
    say(ok('role', 'a primary'), { ...policy, text: 'more keys are evicted' });
    say(replica);
    say(note('eviction', 'nothing is evicted'), ok('role', 'a primary'));
    say(policy);
    expect(lines).toMatchObject([
      {
        level: 'warn',
        event: 'keys_evictable',
        redis: 'redis:6379',
        msg: 'keys are evicted. Give it more memory',
      },
      { level: 'info', event: 'keys_evictable' },
      { level: 'error', event: 'server_role', msg: 'it is a replica' },
      { level: 'info', event: 'server_role' },
      { level: 'warn', event: 'keys_evictable' },
    ]);
  });
});
