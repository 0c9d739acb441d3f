import { pino } from 'pino';
import { describe, expect, it } from 'vitest';
import { systemChance, systemClock } from '../../src/lib/clock.js';
import { fixedLocator } from '../../src/redis/locator.js';
import { ServerIdentity } from '../../src/source/server-identity.js';
import type { RedisState } from '../../src/state/redis-state.js';
import { Metrics } from '../../src/telemetry/metrics.js';
import { WatchEvents } from '../../src/telemetry/watch-events.js';
import { verdictOn, WatchedServer } from '../../src/watch/watched-server.js';
import { redisSettings } from '../support/doctor-readings.js';
import { eventually } from '../support/eventually.js';
import { openState } from '../support/redis-state.js';
import { sharedRedis } from '../support/shared-redis.js';

const shared = sharedRedis();

const known = { id: 'id', runId: 'run', address: 'redis:6379' };
const found = { id: 'id', runId: 'run', address: 'redis:6379' } as const;

describe('a server is the one that the state belongs to', () => {
  it.each([
    ['it has the name in the state, at any address', { ...found, address: 'b:1' }, true],
    ['it has that name after a restart', { ...found, runId: 'other' }, true],
    ['it was emptied while it ran', { ...found, id: null, address: 'b:1' }, true],
    ['it restarted empty, and no replica watches', { ...found, id: null, runId: 'other' }, false],
    [
      'its name may not be read, at the same address',
      { ...found, id: undefined, runId: null },
      true,
    ],
    ['another relay has named it since it started', { ...found, id: 'other' }, true],
  ])('when %s', (_, server, isHeldByOther) => {
    expect(verdictOn(server, known, isHeldByOther)).toBe('same');
  });
});

describe('a server is another one', () => {
  it.each([
    ['it has another name', { ...found, id: 'other', runId: 'other' }],
    ['it has no name, at another address', { id: null, runId: 'other', address: 'b:1' }],
    ['nothing can be asked, at another address', { id: undefined, runId: null, address: 'b:1' }],
  ])('when %s', (_, server) => {
    expect(verdictOn(server, known, false)).toBe('other');
  });
});

it('may be another one when it has no name while another replica watches one that has a name', () => {
  expect(verdictOn({ ...found, id: null, runId: 'other' }, known, true)).toBe('unclear');
});

/** `node`: where the relay reaches the cluster; null: it watches a single server. */
function aServer(state: RedisState, node: string | null): WatchedServer {
  const nodes = node === null ? [] : [{ host: node, port: 6379 }];
  const cluster = node === null ? null : { nodes, addressMap: new Map() };
  const metrics = new Metrics({ endpoints: new Map(), routes: [] });
  return new WatchedServer({
    state,
    lease: { isHeldByOther: false },
    keys: redisSettings({ cluster }),
    stateLocator: fixedLocator(redisSettings()),
    stateDatabase: 0,
    events: new WatchEvents(pino({ level: 'silent' }), metrics, systemClock),
    clock: systemClock,
    chance: systemChance,
  });
}

it('waits for the name of a cluster that another replica, which knows other nodes, is about to write', async () => {
  await using opened = await openState(shared.server.port, 'two-nodes');
  const { signal } = new AbortController();
  let name: string | null = null;
  const read = async () => ({ id: name, runId: null });
  let letWrite: () => void = () => undefined;
  const isWritable = new Promise<void>((resolve) => {
    letWrite = resolve;
  });
  const write = async (id: string) => {
    await isWritable;
    name = id;
  };
  const identity = { read, write } as unknown as ServerIdentity;
  const [one, other] = [aServer(opened.state, 'n1'), aServer(opened.state, 'n2')];
  const first = other.first();
  const ofOne = one.verify(identity, signal);
  await eventually('the state has the name', () =>
    opened.state.redis.exists('{two-nodes}:1:watched'),
  );
  const ofOther = other.verify(identity, signal);
  await eventually('the other one waits', () => other.problem?.includes('without its id'));
  letWrite();
  expect(await Promise.all([ofOne, ofOther])).toEqual([true, true]);
  await first;
});

it('is identified though the state Redis is full', async () => {
  await using opened = await openState(shared.server.port, 'full');
  const server = aServer(opened.state, null);
  const identity = new ServerIdentity(async () => shared.client, 'full:server', 'run');
  expect(server.problem).toBe('not identified yet');
  await shared.client.config('SET', 'maxmemory', 1);
  try {
    const signal = new AbortController().signal;
    // No other key can be written, such as its mark.
    expect(await server.verify(identity, signal)).toBe(true);
    expect(server.problem).toBeNull();
  } finally {
    await shared.client.config('SET', 'maxmemory', 0);
  }
});
