import { describe, expect, it } from 'vitest';
import { Capture, KEY_BYTES_MAX } from '../../src/capture/capture.js';
import type { CaptureEvents } from '../../src/events/capture-events.js';
import { compilePattern } from '../../src/match.js';
import { MemoryOutbox } from '../../src/outbox/memory-outbox.js';
import type { Outbox } from '../../src/outbox/outbox.js';
import { anExpiration, aRoute } from '../support/domain.js';
import { fixedChance, ManualClock, settled } from '../support/manual-clock.js';

/** Keeps the name and arguments of every event. */
function recordedEvents() {
  const happened: [string, ...unknown[]][] = [];
  const events = new Proxy({} as CaptureEvents, {
    get:
      (_, name: string) =>
      (...args: unknown[]) =>
        happened.push([name, ...args]),
  });
  return { events, named: (name: string) => happened.filter(([event]) => event === name) };
}

function aCapture(enqueue?: Outbox['enqueue']) {
  const clock = new ManualClock();
  const outbox: Outbox = new MemoryOutbox(clock, () => undefined);
  if (enqueue !== undefined) outbox.enqueue = enqueue;
  const { events, named } = recordedEvents();
  const routes = [aRoute({ patterns: [compilePattern('order:*')] })];
  const capture = new Capture({ routes, outbox, events, clock, chance: fixedChance() });
  return { capture, clock, outbox, named };
}

const order = (id: number | string) => anExpiration({ key: Buffer.from(`order:${id}`) });
const never = new AbortController().signal;

describe('Capture', () => {
  it('puts a delivery for each expiration into the outbox, in their order', async () => {
    const { capture, outbox } = aCapture();
    for (const id of [1, 2, 3]) capture.expired(order(id));
    await settled();
    const claims = await outbox.claim('shop', 9, never);
    expect(claims.map(({ delivery }) => delivery.keyLabel)).toEqual([
      'order:1',
      'order:2',
      'order:3',
    ]);
  });

  it('gives two expirations of the same key two ids', async () => {
    const { capture, outbox } = aCapture();
    capture.expired(order(1));
    capture.expired(order(1));
    await settled();
    const claims = await outbox.claim('shop', 9, never);
    expect(new Set(claims.map(({ delivery }) => delivery.id)).size).toBe(2);
  });

  it('ignores what no route matches', async () => {
    const { capture, outbox, named } = aCapture();
    capture.expired(anExpiration({ key: Buffer.from('cart:1') }));
    await settled();
    expect((await outbox.depth('shop')).pending).toBe(0);
    expect(named('expired')).toHaveLength(1);
  });

  it('refuses a key that is too long to be sent, and says so', async () => {
    const { capture, outbox, named } = aCapture();
    capture.expired(order('x'.repeat(KEY_BYTES_MAX - 'order:'.length)));
    capture.expired(order('x'.repeat(KEY_BYTES_MAX - 'order:'.length + 1)));
    await settled();
    expect((await outbox.depth('shop')).pending).toBe(1);
    expect(named('expirationRefused')).toHaveLength(1);
  });

  it('repeats an enqueue that failed, with the same deliveries, until it is answered', async () => {
    const tried: string[][] = [];
    const { capture, clock, named } = aCapture(async (deliveries) => {
      tried.push(deliveries.map(({ id }) => id));
      if (tried.length < 3) throw new Error('reply lost');
      return [];
    });
    capture.expired(order(1));
    await clock.advance(1_000);
    expect(tried).toHaveLength(3);
    expect(new Set(tried.flat()).size).toBe(1);
    expect(named('enqueueFailed')).toHaveLength(2);
  });

  it('is bounded while the outbox is stuck, and says what is dropped', async () => {
    const { capture, named } = aCapture(() => new Promise(() => undefined));
    capture.expired(order(0));
    await settled();
    for (let id = 0; id < 200_010; id += 1) capture.expired(order(id));
    expect(named('queueFull')).toHaveLength(10);
  });

  it('is bounded by the bytes of the keys too', async () => {
    const { capture, named } = aCapture(() => new Promise(() => undefined));
    const long = 'x'.repeat(KEY_BYTES_MAX - 'order:'.length);
    for (let id = 0; id < 70; id += 1) capture.expired(order(long));
    expect(named('queueFull').length).toBeGreaterThan(0);
  });

  it('lets the rest of the process have its turn during a burst', async () => {
    const { capture, outbox } = aCapture();
    for (let id = 0; id < 2_000; id += 1) capture.expired(order(id));
    let turns = 0;
    for (; (await outbox.depth('shop')).pending < 2_000; turns += 1) {
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(turns).toBeGreaterThan(2);
  });

  it('waits at a stop until all is in the outbox', async () => {
    const answers: (() => void)[] = [];
    const { capture } = aCapture(() => new Promise((resolve) => answers.push(() => resolve([]))));
    capture.expired(order(1));
    let stopped = false;
    const stop = capture.stop(never).then(() => {
      stopped = true;
    });
    await settled();
    expect(stopped).toBe(false);
    answers[0]?.();
    await stop;
  });

  it('gives up at a stop when the grace is over, and says what is lost', async () => {
    const { capture, named } = aCapture(async () => {
      throw new Error('gone');
    });
    capture.expired(order(1));
    await settled();
    for (const id of [2, 3]) capture.expired(order(id));
    const grace = new AbortController();
    const stop = capture.stop(grace.signal);
    grace.abort();
    await stop;
    expect(named('abandoned')).toEqual([['abandoned', 1, 2]]);
  });

  it('says nothing of a loss at a stop when all is in the outbox', async () => {
    const { capture, named } = aCapture();
    capture.expired(order(1));
    await capture.stop(never);
    expect(named('abandoned')).toEqual([]);
    expect(named('ended')).toHaveLength(1);
  });
});
