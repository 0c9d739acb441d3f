/** A replica dies at each point of a delivery's way: nothing is lost, and the attempts are counted. */
import { describe, expect, it, onTestFinished } from 'vitest';
import { systemClock } from '../../src/lib/clock.js';
import type { Disposition } from '../../src/model/vocabulary.js';
import type { Claimed, Outbox } from '../../src/outbox/outbox.js';
import { Presence } from '../../src/outbox/presence.js';
import { endpointKeys, GROUP, replicasKey } from '../../src/state/format.js';
import { aDelivery, aFailure, deadOf, retryAt } from '../support/domain.js';
import { eventually } from '../support/eventually.js';
import { openState } from '../support/redis-state.js';
import { settle } from '../support/settle.js';
import { sharedRedis } from '../support/shared-redis.js';
import { TcpProxy } from '../support/tcp-proxy.js';
import { lettersOf } from './outbox.contract.js';

const never = new AbortController().signal;
const BODY = Buffer.from([0, 10, 255, 13]);

const shared = sharedRedis();
let prefixes = 0;

/** One replica that will die, and one that goes on; each has a connection of its own. */
async function twoReplicas() {
  prefixes += 1;
  const prefix = `crash-${prefixes}`;
  const proxy = await TcpProxy.start(shared.server.port);
  const replica = async (name: string, port: number) => {
    const { state, scripts, outbox } = await openState(port, prefix);
    onTestFinished(() => state.close());
    const presence = new Presence({
      ...{ state, scripts, replica: name, endpoints: () => ['shop'], clock: systemClock },
      onReclaimed: () => undefined,
    });
    await presence.heartbeat();
    return { state, scripts, presence, outbox: outbox({ replica: name }) as Outbox };
  };
  const dying = await replica('dying', proxy.port);
  const heir = await replica('heir', shared.server.port);
  onTestFinished(() => proxy[Symbol.asyncDispose]());
  const { ready } = endpointKeys(prefix, 'shop');
  return {
    ...{ dying, heir, proxy, prefix },
    async claimed() {
      const summary = await shared.client.xpending(ready, GROUP).catch(() => [0]);
      return Number(summary[0]);
    },
    /** As after kill -9, once its key has run out. */
    async dies() {
      dying.state.close();
      await shared.client.zrem(replicasKey(prefix), 'dying');
    },
  };
}

type Replicas = Awaited<ReturnType<typeof twoReplicas>>;

const store = (outbox: Outbox, ...ids: string[]) =>
  outbox.enqueue(ids.map((id) => aDelivery({ id, body: BODY })));

async function claimOne(outbox: Outbox): Promise<Claimed> {
  const [claimed] = await outbox.claim('shop', 1, never);
  if (claimed === undefined) throw new Error('nothing claimed');
  return claimed;
}

/** What the heir finds: the attempt that it makes, of the same delivery. */
async function expectAttempt(outbox: Outbox, attempt: number): Promise<void> {
  const found = await claimOne(outbox);
  expect(found).toMatchObject({ delivery: { id: 'a', body: BODY }, attempt });
  expect(await outbox.depth('shop')).toMatchObject({ pending: 1, deadLetters: 0 });
}

describe('a replica that dies', () => {
  it('before the enqueue has stored nothing: the next replica repeats it, and stores it once', async () => {
    const { dying, heir, dies } = await twoReplicas();
    await store(dying.outbox, 'a');
    await dies();
    await store(heir.outbox, 'a');
    await expectAttempt(heir.outbox, 1);
  });

  it('between claim and settle, before its POST or after, has made an attempt', async () => {
    const { dying, heir, dies } = await twoReplicas();
    await store(dying.outbox, 'a');
    await claimOne(dying.outbox);
    await dies();
    await heir.presence.reclaim();
    await expectAttempt(heir.outbox, 2);
  });

  it('has made an attempt that is counted, and that the history lacks', async () => {
    const { dying, heir, dies } = await twoReplicas();
    await store(dying.outbox, 'a');
    await dying.outbox.settle(await claimOne(dying.outbox), retryAt(0), 0);
    const lost = await claimOne(dying.outbox);
    await heir.presence.reclaim();
    await shared.client.zrem(replicasKey(dying.state.prefix), 'dying');
    await heir.presence.reclaim();
    await dying.outbox.settle(lost, retryAt(0), 0);
    await dies();
    await heir.outbox.settle(await claimOne(heir.outbox), deadOf('exhausted', aFailure()), 0);
    expect((await lettersOf(heir.outbox.dead))[0]).toMatchObject({
      attempts: 3,
      history: [{ outcome: 'HTTP 500' }, { outcome: 'HTTP 500' }],
    });
  });

  it('time and again has made an attempt each time', async () => {
    const { dying, heir, dies, prefix } = await twoReplicas();
    await store(dying.outbox, 'a');
    await claimOne(dying.outbox);
    await dies();
    await heir.presence.reclaim();
    await claimOne(heir.outbox);
    await shared.client.zrem(replicasKey(prefix), 'heir');
    const { state, outbox, scripts } = await openState(shared.server.port, prefix);
    onTestFinished(() => state.close());
    const third = new Presence({
      ...{ state, scripts, replica: 'third', endpoints: () => ['shop'], clock: systemClock },
      onReclaimed: () => undefined,
    });
    await third.reclaim();
    await expectAttempt(outbox({ replica: 'third' }), 3);
  });

  it('with a claim whose reply was lost counts as an attempt', async () => {
    const { dying, heir, dies, proxy, claimed } = await twoReplicas();
    await store(dying.outbox, 'before');
    await dying.outbox.settleDone([await claimOne(dying.outbox)]);
    await store(dying.outbox, 'a');
    proxy.loseReplies();
    const lost = dying.outbox.claim('shop', 1, never).catch(() => []);
    await eventually('it is claimed', async () => (await claimed()) === 1);
    await dies();
    expect(await lost).toEqual([]);
    await heir.presence.reclaim();
    await expectAttempt(heir.outbox, 2);
  });

  it('after the settle of a retry leaves it to wait for its time', async () => {
    const { dying, heir, dies } = await twoReplicas();
    await store(dying.outbox, 'a');
    const notBeforeMs = systemClock.monotonicMs() + 300;
    await dying.outbox.settle(await claimOne(dying.outbox), retryAt(notBeforeMs), 0);
    await dies();
    await heir.presence.reclaim();
    await expectAttempt(heir.outbox, 2);
    expect(systemClock.monotonicMs()).toBeGreaterThanOrEqual(notBeforeMs - 1);
  });

  /** It settles, the settle is stored, and it dies before it hears of it. */
  const diesInSettle = async (
    { dying, heir, dies, proxy, claimed }: Replicas,
    disposition: Disposition,
  ) => {
    await store(dying.outbox, 'a');
    const claim = await claimOne(dying.outbox);
    proxy.loseReplies();
    const lost = expect(settle(dying.outbox, claim, disposition)).rejects.toThrow();
    await eventually('it is stored', async () => (await claimed()) === 0);
    await dies();
    await lost;
    await heir.presence.reclaim();
  };

  it('during the settle of what is done, once that is stored, leaves nothing', async () => {
    const replicas = await twoReplicas();
    await diesInSettle(replicas, { kind: 'done' });
    expect(await replicas.heir.outbox.depth('shop')).toMatchObject({ pending: 0, deadLetters: 0 });
  });

  it('during the settle of a retry, once that is stored, leaves one attempt made', async () => {
    const replicas = await twoReplicas();
    await diesInSettle(replicas, retryAt(0));
    await expectAttempt(replicas.heir.outbox, 2);
  });

  it('during the settle of a dead letter, once that is stored, leaves it one', async () => {
    const replicas = await twoReplicas();
    await diesInSettle(replicas, deadOf('exhausted'));
    const { outbox } = replicas.heir;
    expect(await lettersOf(outbox.dead)).toMatchObject([
      { delivery: { id: 'a', body: BODY }, reason: 'exhausted', attempts: 1 },
    ]);
    expect(await outbox.depth('shop')).toMatchObject({ pending: 0, deadLetters: 1 });
  });

  it('between two batches of a reclaim leaves the rest to the next one', async () => {
    const { dying, heir, dies, prefix } = await twoReplicas();
    const ids = Array.from({ length: 250 }, (_, n) => `msg_${n}`);
    await store(dying.outbox, ...ids);
    expect(await dying.outbox.claim('shop', 250, never)).toHaveLength(250);
    await dies();
    const { ready } = endpointKeys(prefix, 'shop');
    const batch = await heir.scripts.reclaim([ready, replicasKey(prefix)], ['dying', '', 100]);
    expect(batch).toBe(100);
    await heir.presence.reclaim();
    const claims = await heir.outbox.claim('shop', 999, never);
    expect(claims.map(({ delivery }) => delivery.id).sort()).toEqual([...ids].sort());
    expect(new Set(claims.map(({ attempt }) => attempt))).toEqual(new Set([2]));
  });
});

describe('a server that comes back with older data', () => {
  it('gets a second settle of a claim that it has again', async () => {
    const { heir, prefix } = await twoReplicas();
    await store(heir.outbox, 'a', 'b');
    const [settled, held] = await heir.outbox.claim('shop', 2, never);
    if (settled === undefined || held === undefined) throw new Error('nothing claimed');
    const { ready, deliveries } = endpointKeys(prefix, 'shop');
    const before = await Promise.all(
      [ready, deliveries].map((key) => shared.client.dumpBuffer(key)),
    );
    await heir.outbox.settleDone([settled]);
    for (const [at, key] of [ready, deliveries].entries()) {
      await shared.client.restore(key, 0, before[at] ?? '', 'REPLACE');
    }
    heir.state.redis.disconnect(true);
    await eventually('a new connection', () => heir.state.connections === 2);
    await expectAgain(heir.outbox, settled);
    // An attempt in progress is not given back.
    await heir.outbox.settleDone([held]);
    expect(await heir.outbox.depth('shop')).toMatchObject({ pending: 1 });
  });

  const expectAgain = async (outbox: Outbox, { delivery }: Claimed) => {
    const giveUp = new AbortController();
    const cancel = systemClock.after(5_000, () => giveUp.abort());
    expect(await outbox.claim('shop', 9, giveUp.signal)).toMatchObject([{ delivery, attempt: 1 }]);
    cancel();
  };
});

describe('a clock that is set by an hour', () => {
  it.each([-3_600_000, 3_600_000])(
    'leaves the waits as long as they are: %d ms',
    async (setByMs) => {
      const { state, outbox: anOutbox } = await openState(shared.server.port, `set-${setByMs}`);
      onTestFinished(() => state.close());
      let skewMs = 0;
      const clock = { ...systemClock, nowMs: () => Date.now() + skewMs };
      const outbox = anOutbox({ clock });
      await store(outbox, 'a');
      const settledAtMs = performance.now();
      const notBeforeMs = clock.monotonicMs() + 400;
      skewMs = setByMs;
      await outbox.settle(await claimOne(outbox), retryAt(notBeforeMs), 0);
      await expectAttempt(outbox, 2);
      const waitedMs = performance.now() - settledAtMs;
      expect(waitedMs).toBeGreaterThan(390);
      expect(waitedMs).toBeLessThan(5_000);
    },
  );
});
