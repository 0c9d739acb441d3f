import { describe, expect, it, onTestFinished } from 'vitest';
import { systemClock } from '../../src/lib/clock.js';
import { endpointKeys, quarantineKey, watermarkKey } from '../../src/state/format.js';
import { Quarantine, type QuarantinedEntry, type Suspect } from '../../src/state/quarantine.js';
import { QUARANTINE_ENTRIES_MAX } from '../../src/state/quarantine-scripts.js';
import { NAMED_MAX, QuarantineWatch } from '../../src/state/quarantine-watch.js';
import { aDelivery, retryAt } from '../support/domain.js';
import { eventually } from '../support/eventually.js';
import { openState, SILENT_STATE_EVENTS } from '../support/redis-state.js';
import { settle } from '../support/settle.js';
import { sharedRedis } from '../support/shared-redis.js';

const shared = sharedRedis();
const never = new AbortController().signal;
let prefixes = 0;

async function open() {
  prefixes += 1;
  const prefix = `quarantine-${prefixes}`;
  const opened = await openState(shared.server.port, prefix, SILENT_STATE_EVENTS);
  onTestFinished(() => opened[Symbol.asyncDispose]());
  const { state } = opened;
  const records = () => state.quarantine.after('0-0', QUARANTINE_ENTRIES_MAX);
  return { ...opened, prefix, keys: endpointKeys(prefix, 'shop'), records };
}

const suspectOf = (key: string, given: Partial<Suspect> = {}): Suspect => ({
  ...{ key, kind: 'field', name: 'f', value: 'v', reason: 'not ours', related: null },
  ...given,
});

describe('an entry that no relay has written', () => {
  it('is moved with its bytes, as far as they are kept', async () => {
    const { state, keys, records } = await open();
    const name = Buffer.from([0xff, 0x00]);
    const value = Buffer.alloc(100_000, 0xfe);
    await shared.client.hset(keys.waits, new Map([[name, value]]));
    await state.setAside('claim', [suspectOf(keys.waits, { name, value })]);
    expect(await shared.client.exists(keys.waits)).toBe(0);
    const [record] = await records();
    expect(record).toMatchObject({ number: 1, key: keys.waits, kind: 'field', reason: 'not ours' });
    expect(record).toMatchObject({ name, bytes: 100_000, value: value.subarray(0, 8_192) });
    expect(state.quarantine.moved).toBe(1);
  });

  it('stays when it has changed since it was read', async () => {
    const { state, prefix, keys, records } = await open();
    await shared.client.hset(keys.waits, 'f', 'newer');
    await shared.client.zadd(keys.waiting, 2, 'm');
    await shared.client.set(watermarkKey(prefix), 'newer');
    await state.setAside('claim', [
      suspectOf(keys.waits),
      suspectOf(keys.waits, { name: 'gone' }),
      suspectOf(keys.waiting, { kind: 'member', name: 'm', value: '1' }),
      suspectOf(watermarkKey(prefix), { kind: 'string', name: '' }),
    ]);
    expect(await records()).toEqual([]);
    expect(await shared.client.hget(keys.waits, 'f')).toBe('newer');
    expect(await shared.client.zscore(keys.waiting, 'm')).toBe('2');
  });

  it('makes the oldest record give way, and all are counted', async () => {
    const { state, keys, records } = await open();
    const many = Array.from({ length: QUARANTINE_ENTRIES_MAX + 50 }, (_, n) => `f${n}`);
    await shared.client.hset(keys.waits, Object.fromEntries(many.map((name) => [name, 'v'])));
    await state.setAside(
      'claim',
      many.map((name) => suspectOf(keys.waits, { name })),
    );
    const kept = await records();
    expect(kept).toHaveLength(QUARANTINE_ENTRIES_MAX);
    expect(kept[0]).toMatchObject({ name: Buffer.from('f50'), number: 51 });
    expect(await state.quarantine.depth()).toMatchObject({
      entries: QUARANTINE_ENTRIES_MAX,
      last: { number: many.length },
    });
  });

  it.each([
    ['of another type', ['SET', 'x']],
    ['without a free id', ['XADD', '18446744073709551615-18446744073709551615', 'f', 'v']],
  ])('is recorded although the quarantine is a key %s', async (_, [command = '', ...words]) => {
    const { state, prefix, keys, records } = await open();
    await shared.client.call(command, quarantineKey(prefix), ...words);
    await shared.client.hset(keys.waits, 'f', 'v');
    await state.setAside('claim', [suspectOf(keys.waits)]);
    expect(await records()).toMatchObject([{ key: keys.waits }]);
  });
});

describe('a key of another type', () => {
  it('is renamed, and the command is carried out', async () => {
    const { outbox, prefix, keys, records, state } = await open();
    await shared.client.set(keys.ready, 'of somebody else');
    await outbox().enqueue([aDelivery()]);
    expect((await outbox().depth('shop')).pending).toBe(1);
    const renamed = `${quarantineKey(prefix)}:outbox:shop:ready`;
    const [record] = await records();
    expect(record).toMatchObject({ kind: 'key', key: keys.ready, name: Buffer.from(renamed) });
    expect(await shared.client.get(renamed)).toBe('of somebody else');
    expect(await state.quarantine.drop(record as QuarantinedEntry)).toBe(true);
    expect(await shared.client.exists(renamed)).toBe(0);
    expect(await records()).toEqual([]);
  });
});

describe('a key of another type that the user may not rename', () => {
  it('is deleted, and the start of a string is kept', async () => {
    const { prefix } = await open();
    const keys = endpointKeys(prefix, 'shop');
    const words = ['on', '>secret', '~*', '&*', '+@all', '-rename'];
    await shared.client.call('ACL', 'SETUSER', 'limited', ...words);
    const limited = shared.client.duplicate({ username: 'limited', password: 'secret' });
    onTestFinished(() => limited.disconnect());
    await shared.client.set(keys.ready, 'x'.repeat(10_000));
    await shared.client.rpush(keys.waits, 'x');
    const quarantine = new Quarantine(limited, prefix);
    await quarantine.renameWrongTypes([0], ['shop']);
    expect(await shared.client.exists(keys.ready, keys.waits)).toBe(0);
    const [ready, waits] = await quarantine.latest(2);
    expect(ready).toMatchObject({ key: keys.ready, kind: 'deleted_key', bytes: 10_000 });
    expect(ready?.reason).toMatch(
      /^expected a stream, found another type; deleted, since RENAME failed: /,
    );
    expect(waits).toMatchObject({ key: keys.waits, bytes: 0 });
    expect(await quarantine.drop(ready as QuarantinedEntry)).toBe(true);
  });
});

describe('deliveries that cannot be read', () => {
  it('hold up the others for no longer than it takes to move them', async () => {
    const { outbox, keys, records, state } = await open();
    const one = outbox();
    const pipeline = shared.client.pipeline();
    for (let n = 0; n < 3_000; n += 1) {
      pipeline.hset(keys.deliveries, `bad_${n}`, 'garbage');
      pipeline.xadd(keys.ready, '*', 'id', `bad_${n}`, 'attempts', 0, 'due', 1);
    }
    await pipeline.exec();
    await one.enqueue([aDelivery()]);
    const many = ['b', 'c', 'd'].map((id) => aDelivery({ id }));
    await one.enqueue(many);
    const beganAtMs = systemClock.monotonicMs();
    const claim = () => one.claim('shop', 1, never);
    const [claimed] = await claim();
    expect(claimed?.delivery).toEqual(aDelivery());
    expect(systemClock.monotonicMs() - beganAtMs).toBeLessThan(20_000);
    expect(await one.depth('shop')).toMatchObject({ pending: 4 });
    expect(await records()).toHaveLength(QUARANTINE_ENTRIES_MAX);
    expect((await state.quarantine.depth()).last?.number).toBe(3_000);
    const others = [];
    while (others.length < 3) others.push(...(await claim()));
    expect(others.map(({ delivery, attempt }) => [delivery.id, attempt])).toEqual(
      many.map(({ id }) => [id, 1]),
    );
  }, 40_000);

  it('are made known by a limited number of lines', async () => {
    const { state, keys } = await open();
    const said: unknown[] = [];
    const watch = new QuarantineWatch({
      state,
      clock: systemClock,
      events: {
        quarantineDepth: (...depth) => said.push(depth),
        quarantined: ({ name }) => said.push(name.toString()),
        moreQuarantined: (count) => said.push(`${count} more`),
      },
    });
    const move = async (from: number, count: number) => {
      const names = Array.from({ length: count }, (_, n) => `f${from + n}`);
      await shared.client.hset(keys.waits, Object.fromEntries(names.map((name) => [name, 'v'])));
      await state.setAside(
        'claim',
        names.map((name) => suspectOf(keys.waits, { name })),
      );
      said.length = 0;
      await watch.runOnce();
    };
    await move(0, 1);
    expect(said).toEqual([[1, 1], 'f0']);
    await move(1, 2);
    expect(said).toEqual([[3, 3], 'f1', 'f2']);
    await move(3, 50);
    expect(said).toHaveLength(NAMED_MAX + 2);
    expect(said.at(-1)).toBe('40 more');
    expect(watch.entries).toBe(53);
    said.length = 0;
    await watch.runOnce();
    expect(said).toEqual([[53, 53]]);
  });
});

describe('a throttle', () => {
  it.each([
    [{ until: 'soon', length: 1_000 }, 'until'],
    [{ until: 9e12, length: 'x' }, 'length'],
    [{ until: 9e12, length: 9e12 }, 'length'],
    [{ length: 1_000 }, 'until'],
    [{ until: 9e12 }, 'length'],
  ])('that no relay has written holds up nothing: %j', async (fields, name) => {
    const { outbox, keys, records } = await open();
    const one = outbox();
    await one.enqueue([aDelivery()]);
    await shared.client.hset(keys.throttle, fields);
    expect(await one.depth('shop')).toMatchObject({ throttledForMs: 0 });
    expect(await one.claim('shop', 1, AbortSignal.timeout(5_000))).toHaveLength(1);
    const [record] = await records();
    expect(record).toMatchObject({ key: keys.throttle, kind: 'field', name: Buffer.from(name) });
    expect(await shared.client.exists(keys.throttle)).toBe(0);
  });

  it('that no relay has written is replaced by one that the endpoint asks for', async () => {
    const { outbox, keys } = await open();
    const one = outbox();
    await one.enqueue([aDelivery()]);
    const [claimed] = await one.claim('shop', 1, never);
    await shared.client.hset(keys.throttle, { until: 'later', length: 'long' });
    if (claimed) await one.settle(claimed, retryAt(0), 30_000);
    expect((await one.depth('shop')).throttledForMs).toBeGreaterThan(25_000);
  });
});

describe('a consumer group', () => {
  it.each(['0', '$', '18446744073709551615-0'])(
    'that somebody sets to %s loses no delivery',
    async (to) => {
      const { outbox, keys } = await open();
      const one = outbox();
      await one.enqueue(['a', 'b', 'c'].map((id) => aDelivery({ id })));
      const [first] = await one.claim('shop', 1, never);
      await shared.client.xgroup('SETID', keys.ready, 'relay', to);
      const claims = [];
      while (claims.length < 2) claims.push(...(await one.claim('shop', 5, never)));
      expect(first?.delivery.id).toBe('a');
      const ids = claims.map(({ delivery }) => delivery.id);
      expect(ids.filter((id) => id !== 'a').sort()).toEqual(['b', 'c']);
    },
  );

  it.each([false, true])(
    'keeps its claims and reads on after an entry with the last possible id (claimed: %s)',
    async (isRead) => {
      const { outbox, keys, records } = await open();
      const one = outbox();
      await one.enqueue([aDelivery({ id: 'a' })]);
      const before = isRead ? await one.claim('shop', 1, never) : [];
      await shared.client.xadd(keys.ready, '18446744073709551615-18446744073709551615', 'f', 'v');
      const claims = [...before, ...(isRead ? [] : await one.claim('shop', 1, never))];
      const next = one.claim('shop', 9, never);
      await eventually('it is in the quarantine', async () => (await records()).length === 1);
      await one.enqueue([aDelivery({ id: 'b' })]);
      claims.push(...(await next));
      expect(claims.map(({ delivery }) => delivery.id)).toEqual(['a', 'b']);
      expect((await shared.client.xpending(keys.ready, 'relay'))[0]).toBe(2);
      for (const claimed of claims) await settle(one, claimed, { kind: 'done' });
      expect(await shared.client.xlen(keys.ready)).toBe(0);
      expect((await one.depth('shop')).pending).toBe(0);
    },
  );

  it.each([[], ['18446744073709551615-5']])(
    'takes deliveries at once after an entry with the last possible id, and %s',
    async (...others) => {
      const { outbox, keys, records } = await open();
      const one = outbox();
      const last = '18446744073709551615-18446744073709551615';
      for (const id of [...others, last]) await shared.client.xadd(keys.ready, id, 'f', 'v');
      const ids = ['a', 'b', 'c'];
      await one.enqueue(ids.map((id) => aDelivery({ id })));
      const claims = [];
      while (claims.length < ids.length) claims.push(...(await one.claim('shop', 9, never)));
      expect(claims.map(({ delivery }) => delivery.id)).toEqual(ids);
      expect(await records()).toHaveLength(others.length + 1);
    },
  );

  it('forgets claims whose entries somebody has deleted', async () => {
    const { outbox, keys } = await open();
    const one = outbox();
    await one.enqueue([aDelivery({ id: 'a' })]);
    await one.claim('shop', 1, never);
    await shared.client.xtrim(keys.ready, 'MAXLEN', 0);
    await one.enqueue([aDelivery({ id: 'b' })]);
    const [claimed] = await outbox().claim('shop', 9, never);
    expect(claimed?.delivery.id).toBe('b');
    expect((await shared.client.xpending(keys.ready, 'relay'))[0]).toBe(1);
  });

  it('that somebody destroys is made anew', async () => {
    const { outbox, keys } = await open();
    const one = outbox();
    await one.enqueue([aDelivery()]);
    await one.claim('shop', 1, never);
    await shared.client.xgroup('DESTROY', keys.ready, 'relay');
    expect(await one.claim('shop', 1, never)).toHaveLength(1);
  });
});
