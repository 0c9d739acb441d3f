import { describe, expect, it, onTestFinished } from 'vitest';
import { systemClock } from '../../src/lib/clock.js';
import { StateUnavailableError } from '../../src/model/errors.js';
import type { DeadLetter } from '../../src/model/vocabulary.js';
import { Maintenance } from '../../src/outbox/maintenance.js';
import type { Claimed } from '../../src/outbox/outbox.js';
import { Presence } from '../../src/outbox/presence.js';
import {
  breakerKey,
  DEAD_AFTER_MS,
  endpointKeys,
  endpointsKey,
  FORMAT_VERSION,
  formatKey,
  quarantineKey,
} from '../../src/state/format.js';
import { aDelivery, deadOf, retryAt } from '../support/domain.js';
import { ManualClock } from '../support/manual-clock.js';
import { openState } from '../support/redis-state.js';
import { sharedRedis } from '../support/shared-redis.js';
import { lettersOf } from './outbox.contract.js';

const shared = sharedRedis();
let prefixes = 0;

const never = new AbortController().signal;
const FAR_OFF_MS = 9e12;
const GRACE_MS = 60_000;

/** A replica that has only `other`, and what is in the outbox for `shop`, which somebody else had. */
async function oneReplica(given: { keepMs?: number; deadLettersMax?: number } = {}) {
  prefixes += 1;
  const prefix = `upkeep-${prefixes}`;
  const { keepMs = 3_600_000, deadLettersMax = 10_000 } = given;
  const said: unknown[][] = [];
  const opened = await openState(shared.server.port, prefix);
  onTestFinished(() => opened[Symbol.asyncDispose]());
  const { state, scripts } = opened;
  const clock = new ManualClock();
  const server = { isSteady: true, isAway: false };
  const outbox = opened.outbox({ deadLettersMax });
  const upkeep = () =>
    new Maintenance({
      ...{ state, scripts, outbox, clock },
      limits: () => ({ keepMs, graceMs: GRACE_MS }),
      isClockSteady: () => {
        if (server.isAway) throw new StateUnavailableError('away');
        return server.isSteady;
      },
      events: {
        unknownEndpoint: (...what) => said.push(['unknown', ...what]),
        unknownEndpointDeadLettered: (...what) => said.push(['buried', ...what]),
        deadLettersExpired: (...what) => said.push(['expired', ...what]),
        indexRestored: (...what) => said.push(['restored', ...what]),
      },
    });
  const presence = (endpoints: readonly string[]) =>
    new Presence({
      ...{ state, scripts, replica: 'one', endpoints: () => endpoints, clock: systemClock },
      onReclaimed: () => undefined,
    });
  /** Somebody had it until so long ago. */
  const hadAgo = (endpoint: string, ms: number) =>
    shared.client.zadd(endpointsKey(prefix), Date.now() - ms, endpoint);
  const claim = (countMax: number, by = outbox) => by.claim('shop', countMax, never);
  return {
    opened,
    outbox,
    upkeep,
    presence,
    hadAgo,
    claim,
    said,
    clock,
    prefix,
    server,
    state,
    scripts,
  };
}

const GONE_MS = DEAD_AFTER_MS + 1_000;

const summary = (letters: readonly DeadLetter[]) =>
  letters.map(({ delivery, reason, attempts }) => [delivery.id, reason, attempts]).sort();

describe('an index that another client has deleted', () => {
  it('is restored for deliveries: they are sent nevertheless', async () => {
    const { outbox, upkeep, presence, prefix, claim, said } = await oneReplica();
    await presence(['shop']).heartbeat();
    const ids = ['a', 'b', 'c'];
    await outbox.enqueue(ids.map((id) => aDelivery({ id })));
    const [held] = await claim(1);
    const { ready, waiting } = endpointKeys(prefix, 'shop');
    await outbox.settle(held as Claimed, retryAt(FAR_OFF_MS), 0);
    await upkeep().runOnce();
    expect(said).toEqual([]);
    await shared.client.del(ready, waiting);
    await upkeep().runOnce();
    expect(said).toEqual([['restored', 'shop', 3, 0]]);
    expect((await claim(9)).map(({ delivery }) => delivery.id).sort()).toEqual(ids);
  });

  it('is restored for dead letters, and loses entries that have none', async () => {
    const { outbox, upkeep, presence, prefix, claim, said, state } = await oneReplica();
    await presence(['shop']).heartbeat();
    await outbox.enqueue(['a', 'b'].map((id) => aDelivery({ id })));
    for (const one of await claim(2)) {
      await outbox.settle(one, deadOf('exhausted'), 0);
    }
    const { dead, deadOrder } = endpointKeys(prefix, 'shop');
    await shared.client.zrem(deadOrder, 'a');
    await upkeep().runOnce();
    expect(said).toEqual([['restored', 'shop', 0, 1]]);
    expect(summary(await lettersOf(outbox.dead)).map(([id]) => id)).toEqual(['a', 'b']);
    await shared.client.hdel(dead, 'a');
    await upkeep().runOnce();
    expect(await outbox.dead.counts(['shop'])).toEqual(new Map([['shop', 1]]));
    expect((await state.quarantine.depth()).last).toMatchObject({ key: deadOrder });
  });
});

describe('a circuit breaker that an older relay has stored', () => {
  it('holds up nothing, and is deleted', async () => {
    const { outbox, upkeep, presence, prefix, claim } = await oneReplica();
    await presence(['shop']).heartbeat();
    await outbox.enqueue([aDelivery()]);
    const key = breakerKey(prefix, 'shop');
    const later = Date.now() + 60_000;
    await shared.client.hset(key, { failures: 5, pauses: 1, until: later, pause: 60_000 });
    expect(await claim(1)).toHaveLength(1);
    await upkeep().runOnce();
    expect(await shared.client.exists(key)).toBe(0);
  });
});

describe('the history of a delivery', () => {
  it('is deleted if an older relay has settled the delivery, and kept while it is pending', async () => {
    const { outbox, upkeep, presence, prefix, claim } = await oneReplica();
    await presence(['shop']).heartbeat();
    await outbox.enqueue([aDelivery({ id: 'a' }), aDelivery({ id: 'b' })]);
    for (const claimed of await claim(2)) await outbox.settle(claimed, retryAt(FAR_OFF_MS), 0);
    const { attempts, deliveries } = endpointKeys(prefix, 'shop');
    const histories = Array.from({ length: 700 }, (_, n) => [`msg_${n}`, '[1,2,"dns"]']).flat();
    await shared.client.hset(attempts, ...histories);
    await shared.client.hdel(deliveries, 'a');
    await upkeep().runOnce();
    expect(await shared.client.hlen(attempts)).toBeGreaterThan(200);
    for (let n = 0; n < 20; n += 1) await upkeep().runOnce();
    expect(await shared.client.hkeys(attempts)).toEqual(['b']);
  });

  it('goes with the delivery of an endpoint that no replica has', async () => {
    const { outbox, upkeep, hadAgo, claim, prefix, clock } = await oneReplica();
    await outbox.enqueue([aDelivery({ id: 'waiting' }), aDelivery({ id: 'ready' })]);
    for (const claimed of await claim(1)) await outbox.settle(claimed, retryAt(FAR_OFF_MS), 0);
    const { attempts } = endpointKeys(prefix, 'shop');
    const stale = Array.from({ length: 2_000 }, (_, n) => [`msg_${n}`, '[1,2,"dns"]']).flat();
    await shared.client.hset(attempts, ...stale);
    await hadAgo('shop', GONE_MS);
    const one = upkeep();
    await one.runOnce();
    await clock.advance(GRACE_MS);
    await one.runOnce();
    const letters = await lettersOf(outbox.dead);
    expect(letters.map(({ delivery, history }) => [delivery.id, history.length]).sort()).toEqual([
      ['ready', 0],
      ['waiting', 1],
    ]);
    expect(await shared.client.exists(attempts)).toBe(0);
  });
});

describe('an endpoint that no running replica has', () => {
  it('is shown when it was found so twice, with what waits for it and the grace that is left', async () => {
    const { outbox, upkeep, hadAgo, said, clock } = await oneReplica();
    await outbox.enqueue([aDelivery({ id: 'a' }), aDelivery({ id: 'b' })]);
    await hadAgo('shop', GONE_MS);
    await hadAgo('other', 1_000);
    const one = upkeep();
    await one.runOnce();
    expect(said).toEqual([]);
    await clock.advance(10_000);
    await hadAgo('other', 0);
    await one.runOnce();
    expect(said).toEqual([['unknown', 'shop', 2, GRACE_MS - 10_000]]);
    expect(await outbox.dead.list('shop').next()).toMatchObject({ done: true });
  });

  it('is given up after the grace: ids and bodies kept, an attempt of unknown end counted', async () => {
    const { opened, outbox, upkeep, hadAgo, claim, said, clock } = await oneReplica();
    const body = Buffer.from([0, 10, 255]);
    await outbox.enqueue(['waiting', 'claimed', 'ready'].map((id) => aDelivery({ id, body })));
    const [waiting] = await claim(1);
    if (waiting) await outbox.settle(waiting, retryAt(FAR_OFF_MS), 0);
    await claim(1, opened.outbox({ replica: 'dead' }));
    await hadAgo('shop', GONE_MS);
    const one = upkeep();
    await one.runOnce();
    await clock.advance(GRACE_MS);
    await one.runOnce();
    expect(said).toContainEqual(['buried', 'shop', 3]);
    const letters = await lettersOf(outbox.dead);
    expect(summary(letters)).toEqual([
      ['claimed', 'unknown_endpoint', 1],
      ['ready', 'unknown_endpoint', 0],
      ['waiting', 'unknown_endpoint', 1],
    ]);
    for (const { delivery } of letters) expect(delivery.body).toEqual(body);
    expect(await outbox.depth('shop')).toMatchObject({ pending: 0, deadLetters: 3 });
    await one.runOnce();
    expect(said.at(-1)).toEqual(['unknown', 'shop', 0, 0]);
  });

  it('is given back its deliveries by a replica that comes before the grace is over', async () => {
    const { outbox, upkeep, presence, hadAgo, claim, said, clock } = await oneReplica();
    await outbox.enqueue([aDelivery({ id: 'a' })]);
    await hadAgo('shop', GONE_MS);
    const one = upkeep();
    await one.runOnce();
    await clock.advance(GRACE_MS - 1);
    await one.runOnce();
    await presence(['shop']).heartbeat();
    await clock.advance(GRACE_MS);
    await one.runOnce();
    expect(said).toEqual([
      ['unknown', 'shop', 1, 1],
      ['unknown', 'shop', 0, GRACE_MS],
    ]);
    expect(await claim(9)).toMatchObject([{ delivery: { id: 'a' }, attempt: 1 }]);
  });

  it('is not given up at once after a time in which nobody could give a sign of life', async () => {
    const { outbox, upkeep, hadAgo, said, clock, server } = await oneReplica();
    await outbox.enqueue([aDelivery()]);
    await hadAgo('shop', GONE_MS);
    const one = upkeep();
    await one.runOnce();
    server.isAway = true;
    await clock.advance(GRACE_MS);
    await expect(one.runOnce()).rejects.toThrow(StateUnavailableError);
    server.isAway = false;
    await one.runOnce();
    expect(said).toEqual([]);
    await clock.advance(10_000);
    await one.runOnce();
    expect(said).toEqual([['unknown', 'shop', 1, GRACE_MS - 10_000]]);
    expect(await outbox.depth('shop')).toMatchObject({ pending: 1, deadLetters: 0 });
  });

  it('is given up to the end by another replica, when one dies between two batches', async () => {
    const { outbox, upkeep, clock, said, prefix, scripts } = await oneReplica();
    const ids = Array.from({ length: 250 }, (_, n) => `msg_${n}`);
    await outbox.enqueue(ids.map((id) => aDelivery({ id })));
    const hadAtMs = Date.now() - GONE_MS;
    await shared.client.zadd(endpointsKey(prefix), hadAtMs, 'shop');
    const { ready, deliveries, waiting, throttle, dead, deadOrder, waits, attempts } = endpointKeys(
      prefix,
      'shop',
    );
    const own = [ready, deliveries, waiting, throttle, dead, deadOrder, waits, attempts];
    await scripts.deadLetterUnknown(
      [endpointsKey(prefix), ...own, quarantineKey(prefix)],
      ['shop', hadAtMs, 'unknown_endpoint', 100],
    );
    expect(await outbox.depth('shop')).toMatchObject({ pending: 150, deadLetters: 100 });
    const other = upkeep();
    await other.runOnce();
    await clock.advance(GRACE_MS);
    await other.runOnce();
    expect(said).toContainEqual(['buried', 'shop', 150]);
    const letters = await lettersOf(outbox.dead);
    expect(letters.map(({ delivery }) => delivery.id).sort()).toEqual([...ids].sort());
  });

  it('leaves all of it as dead letters, however many are kept of others', async () => {
    const { outbox, upkeep, hadAgo, said, clock } = await oneReplica({ deadLettersMax: 2 });
    await outbox.enqueue(['a', 'b', 'c'].map((id) => aDelivery({ id })));
    await hadAgo('shop', GONE_MS);
    const one = upkeep();
    await one.runOnce();
    await clock.advance(GRACE_MS);
    await one.runOnce();
    expect(said).toContainEqual(['buried', 'shop', 3]);
    expect(await outbox.depth('shop')).toMatchObject({ pending: 0, deadLetters: 3 });
  });
});

describe('after the clock of Redis was set', () => {
  const HOUR_MS = 3_600_000;

  it.each([
    ['ahead: an endpoint that a replica has', 2 * HOUR_MS],
    ['back: an endpoint that a replica has', -2 * HOUR_MS],
  ])('an hour %s is known', async (_, agoMs) => {
    const { outbox, upkeep, hadAgo, said, clock } = await oneReplica();
    await outbox.enqueue([aDelivery()]);
    const one = upkeep();
    for (let n = 0; n < 3; n += 1) {
      await hadAgo('shop', agoMs - n * 10_000);
      await one.runOnce();
      await clock.advance(GRACE_MS);
    }
    expect(said).toEqual([]);
  });

  it('an hour back, an endpoint that no replica has is still given up after the grace', async () => {
    const { outbox, upkeep, hadAgo, said, clock } = await oneReplica();
    await outbox.enqueue([aDelivery()]);
    await hadAgo('shop', -HOUR_MS);
    const one = upkeep();
    await one.runOnce();
    await clock.advance(GRACE_MS);
    await one.runOnce();
    expect(said).toContainEqual(['buried', 'shop', 1]);
  });

  it('an hour back, a dead letter of that hour is kept for its time from now on, and no longer', async () => {
    const { outbox, upkeep, presence, claim, said, prefix } = await oneReplica();
    await outbox.enqueue([aDelivery({ id: 'ahead' })]);
    for (const claimed of await claim(1)) {
      await outbox.settle(claimed, deadOf('exhausted'), 0);
    }
    const { deadOrder } = endpointKeys(prefix, 'shop');
    await shared.client.zincrby(deadOrder, HOUR_MS, 'ahead');
    await presence(['shop']).heartbeat();
    await upkeep().runOnce();
    const diedAtMs = Number(await shared.client.zscore(deadOrder, 'ahead'));
    expect(Math.abs(diedAtMs - Date.now())).toBeLessThan(60_000);
    expect(said).toEqual([]);
  });

  it('no dead letter is forgotten, since it may have been a mistake', async () => {
    const { outbox, upkeep, presence, claim, said, server } = await oneReplica({ keepMs: -1_000 });
    await outbox.enqueue([aDelivery()]);
    for (const claimed of await claim(1)) {
      await outbox.settle(claimed, deadOf('exhausted'), 0);
    }
    await presence(['shop']).heartbeat();
    server.isSteady = false;
    await upkeep().runOnce();
    expect(said).toEqual([]);
    server.isSteady = true;
    await upkeep().runOnce();
    expect(said).toEqual([['expired', 'shop', 1]]);
  });
});

describe('dead letters', () => {
  it('are removed when they are older than the limit, and this is reported', async () => {
    const { outbox, upkeep, presence, claim, said, prefix } = await oneReplica({
      keepMs: 3_600_000,
    });
    await outbox.enqueue([aDelivery({ id: 'old' }), aDelivery({ id: 'young' })]);
    for (const claimed of await claim(2)) {
      await outbox.settle(claimed, deadOf('exhausted'), 0);
    }
    const { deadOrder } = endpointKeys(prefix, 'shop');
    await shared.client.zincrby(deadOrder, -3_600_001, 'old');
    await presence(['shop']).heartbeat();
    await upkeep().runOnce();
    expect(said).toEqual([['expired', 'shop', 1]]);
    expect((await lettersOf(outbox.dead)).map(({ delivery }) => delivery.id)).toEqual(['young']);
  });
});

describe('a sign of life', () => {
  it('marks the format anew where a flush has taken it', async () => {
    const { presence, prefix } = await oneReplica();
    await shared.client.del(formatKey(prefix));
    await presence(['shop']).heartbeat();
    expect(await shared.client.get(formatKey(prefix))).toBe(String(FORMAT_VERSION));
  });

  it('leaves the mark of another version alone', async () => {
    const { presence, prefix } = await oneReplica();
    await shared.client.set(formatKey(prefix), '2');
    await presence(['shop']).heartbeat();
    expect(await shared.client.get(formatKey(prefix))).toBe('2');
  });
});
