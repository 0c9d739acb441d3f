/** One look for all idle endpoints, at a real Redis. */
import { describe, expect, it } from 'vitest';
import { endpointKeys, GROUP } from '../../src/state/format.js';
import { aDelivery, retryAt } from '../support/domain.js';
import { eventually } from '../support/eventually.js';
import { openState } from '../support/redis-state.js';
import { sharedRedis } from '../support/shared-redis.js';

const shared = sharedRedis();
const PREFIX = 'idle';
/** A look comes every 250 ms; the rest is for a busy machine. */
const SOON_MS = 1_500;

const namesOf = (count: number) => Array.from({ length: count }, (_, n) => `e${n}`);

/** Two replicas; one waits for deliveries of all endpoints. */
async function anIdleReplica(endpoints: readonly string[]) {
  await shared.client.config('RESETSTAT');
  const opened = await openState(shared.server.port, PREFIX);
  const ending = new AbortController();
  const idle = opened.outbox({ replica: 'idle' });
  const claimed: string[] = [];
  const claims = endpoints.map(async (endpoint) => {
    while (!ending.signal.aborted) {
      for (const { delivery } of await idle.claim(endpoint, 1, ending.signal)) {
        claimed.push(`${endpoint}:${delivery.id}`);
      }
    }
  });
  return {
    other: opened.outbox({ replica: 'other' }),
    claimed,
    keysOf: (endpoint: string) => endpointKeys(PREFIX, endpoint),
    async [Symbol.asyncDispose]() {
      ending.abort();
      await idle.close();
      await Promise.all(claims);
      await opened[Symbol.asyncDispose]();
    },
  };
}

/** The calls of scripts since the last reset. */
async function scriptCalls(): Promise<number> {
  const stats = await shared.client.info('commandstats');
  return Number(/^cmdstat_evalsha:calls=(\d+)/m.exec(stats)?.[1] ?? 0);
}

describe('an idle endpoint', () => {
  it('claims what another replica stores', async () => {
    await using under = await anIdleReplica(['shop', 'mail']);
    await eventually('both wait', async () => (await scriptCalls()) > 0);
    await under.other.enqueue([aDelivery({ id: 'a', endpoint: 'mail' })]);
    const startMs = performance.now();
    await eventually('the claim', () => under.claimed.length > 0);
    expect(under.claimed).toEqual(['mail:a']);
    expect(performance.now() - startMs).toBeLessThan(SOON_MS);
  });

  it('claims a retry that is due, also one that another replica has scheduled', async () => {
    await using under = await anIdleReplica(['shop']);
    const { other } = under;
    await other.enqueue([aDelivery({ id: 'a', endpoint: 'mail' })]);
    const [claimed] = await other.claim('mail', 1, new AbortController().signal);
    if (claimed === undefined) throw new Error('expected a claim');
    await other.settle(claimed, retryAt(0), 0);
    await using late = await anIdleReplica(['mail']);
    await eventually('the retry', () => late.claimed.includes('mail:a'));
  });

  it('claims nothing while it is throttled, and then what waits', async () => {
    await using under = await anIdleReplica(['shop']);
    const { throttle } = under.keysOf('shop');
    const nowMs = Date.now();
    await shared.client.hset(throttle, 'until', nowMs + 1_000, 'length', 1_000);
    await under.other.enqueue([aDelivery({ id: 'a' })]);
    await eventually('the claim', () => under.claimed.length > 0);
    expect(Date.now() - nowMs).toBeGreaterThanOrEqual(950);
  });

  it('is found although a key of another endpoint has the wrong type', async () => {
    await using under = await anIdleReplica(['shop', 'mail']);
    await shared.client.set(under.keysOf('shop').waiting, 'no sorted set');
    await under.other.enqueue([aDelivery({ id: 'a', endpoint: 'mail' })]);
    await eventually('the claim', () => under.claimed.includes('mail:a'));
  });

  it('gets back a claim that arrived after its reply was lost', async () => {
    await using under = await anIdleReplica(['shop']);
    const { ready, throttle } = under.keysOf('shop');
    await eventually('it waits', async () => (await shared.client.exists(ready)) === 1);
    // Throttled, the replica does not claim by itself.
    await shared.client.hset(throttle, 'until', Date.now() + 60_000, 'length', 60_000);
    await under.other.enqueue([aDelivery({ id: 'a' })]);
    await shared.client.xreadgroup('GROUP', GROUP, 'idle', 'COUNT', 1, 'STREAMS', ready, '>');
    await shared.client.del(throttle);
    // Claims are compared with the stream every 10 s.
    await eventually('the claim', () => under.claimed.includes('shop:a'), 15_000);
  });

  it('shares its requests: 100 endpoints cause as many as one', async () => {
    const counted = async (endpoints: readonly string[]) => {
      await using _under = await anIdleReplica(endpoints);
      await new Promise((resolve) => setTimeout(resolve, 500));
      await shared.client.config('RESETSTAT');
      await new Promise((resolve) => setTimeout(resolve, 2_000));
      return await scriptCalls();
    };
    const one = await counted(['shop']);
    const many = await counted(namesOf(100));
    expect(one).toBeGreaterThanOrEqual(4);
    expect(many).toBeLessThanOrEqual(one + 2);
  });
});
