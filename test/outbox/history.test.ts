/** Whatever another client writes into the history of a delivery, the delivery and its dead letter stay whole. */
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import type { RedisOutbox } from '../../src/outbox/redis-outbox.js';
import { endpointKeys, HISTORY_MAX } from '../../src/state/format.js';
import type { RedisState } from '../../src/state/redis-state.js';
import { aDelivery, aFailure, deadOf, retryAt } from '../support/domain.js';
import { openState } from '../support/redis-state.js';
import { sharedRedis } from '../support/shared-redis.js';

const shared = sharedRedis({ emptied: 'once' });
const PREFIX = 'histories';
const keys = endpointKeys(PREFIX, 'shop');
const never = new AbortController().signal;

const GOOD = '[1764360062123,12,"HTTP 500"]';
const RECORDED = { startedAtMs: 1_764_360_062_123, durationMs: 12, outcome: 'HTTP 500' };

const HOSTILE = [
  '',
  ',',
  '\n',
  '{"reason":"gone"}\n{}',
  '[007,1,"dns"]',
  '[1,01,"dns"]',
  '[1,2,"%s%d%n"]',
  '[1,2,"\n"]',
  '[1,2,"a\\"]',
  '[-1,2,"dns"]',
  '[1e400,2,"dns"]',
  '[99999999999999999999,2,"dns"]',
  `[${'9'.repeat(400)},2,"dns"]`,
  `[1,2,"${'x'.repeat(65)}"]`,
  '[1,2,"dns"',
  ']],"attempts":0,"x":[[',
  '['.repeat(5_000),
  '\u0000',
  'x'.repeat(1_000_000),
];

/** What relays store. */
const STORED = /^(\[[1-9]\d{0,14},\d{1,15},"[A-Za-z0-9_ ]{1,64}"\](,|$)){1,20}$/;

/** Parts of histories, good ones too, and any bytes. */
const texts = fc.oneof(
  fc
    .array(fc.oneof(fc.constantFrom(GOOD, ',', ...HOSTILE), fc.string({ maxLength: 5 })), {
      maxLength: 8,
    })
    .map((parts) => Buffer.from(parts.join(''))),
  fc.uint8Array({ maxLength: 60 }).map((bytes) => Buffer.from(bytes)),
);

describe('the history of a delivery', () => {
  let outbox: RedisOutbox;
  let state: RedisState;
  beforeAll(async () => {
    const opened = await openState(shared.server.port, PREFIX);
    outbox = opened.outbox();
    state = opened.state;
    return () => opened[Symbol.asyncDispose]();
  });

  const claimOne = async () => {
    const [claimed] = await outbox.claim('shop', 1, never);
    if (claimed === undefined) throw new Error('nothing claimed');
    return claimed;
  };
  /** Writes the history of the only delivery, and lets it die after `retries` more attempts. */
  const dieWith = async (text: string | Buffer, retries = 0) => {
    await outbox.enqueue([aDelivery()]);
    await shared.client.hset(keys.attempts, 'msg_1', text);
    for (let n = 0; n < retries; n += 1) {
      await outbox.settle(await claimOne(), retryAt(0, aFailure({ outcome: 'tls' })), 0);
      expect(await shared.client.hget(keys.attempts, 'msg_1')).toMatch(STORED);
    }
    await outbox.settle(await claimOne(), deadOf('exhausted', aFailure({ outcome: 'dns' })), 0);
    expect(await shared.client.exists(keys.attempts)).toBe(0);
    const letter = await outbox.dead.find('shop', 'msg_1');
    await outbox.dead.drop('shop', 'msg_1');
    return letter;
  };

  it('is replaced by what is readable of it, and recorded in the quarantine', async () => {
    const letter = await dieWith(`x${GOOD},,[1,2]${GOOD}`);
    expect(letter?.history).toMatchObject([RECORDED, RECORDED, { outcome: 'dns' }]);
    expect((await state.quarantine.depth()).last).toMatchObject({
      ...{ key: keys.attempts, kind: 'field', reason: 'not a list of attempts' },
      name: Buffer.from('msg_1'),
    });
  });

  it.each(HOSTILE)('costs no dead letter if it is %j', async (text) => {
    const { moved } = state.quarantine;
    for (const retries of [0, 1]) {
      const letter = await dieWith(text, retries);
      expect(letter).toMatchObject({ delivery: aDelivery(), attempts: retries + 1 });
      expect(letter?.history.at(-1)).toMatchObject({ outcome: 'dns', durationMs: 12 });
    }
    expect(state.quarantine.moved).toBe(moved);
  });

  it('costs no dead letter, whatever its bytes', async () => {
    await fc.assert(
      fc.asyncProperty(texts, fc.integer({ min: 0, max: 2 }), async (text, retries) => {
        const letter = await dieWith(text, retries);
        expect(letter).toMatchObject({ delivery: aDelivery(), attempts: retries + 1 });
        expect(letter?.history.at(-1)).toMatchObject({ outcome: 'dns' });
        expect(letter?.history.length).toBeGreaterThan(retries);
        expect(letter?.history.length).toBeLessThanOrEqual(HISTORY_MAX);
      }),
      { numRuns: 200 },
    );
  });

  it('that is much too long is read at its start alone', async () => {
    const items = Array.from({ length: 50_000 }, (_, n) => `[1,${n},"dns"]`);
    const letter = await dieWith(items.join());
    const [{ durationMs } = { durationMs: 0 }] = letter?.history ?? [];
    expect(durationMs).toBeLessThan(1_000);
  });

  it('that is full is not taken for one of another client', async () => {
    const long = `[999999999999999,999999999999999,"${'x'.repeat(64)}"]`;
    const { entries } = await state.quarantine.depth();
    const letter = await dieWith(Array.from({ length: HISTORY_MAX }, () => long).join(), 2);
    expect(letter?.history).toHaveLength(HISTORY_MAX);
    expect((await state.quarantine.depth()).entries).toBe(entries);
  });
});
