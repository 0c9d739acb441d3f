import { pino } from 'pino';
import { describe, expect, it } from 'vitest';
import { goneChecks } from '../../src/delivery/gone-endpoints.js';
import { Worker } from '../../src/delivery/worker.js';
import type { Endpoint } from '../../src/model/endpoint.js';
import { Secret } from '../../src/model/secret.js';
import type { Outcome } from '../../src/model/vocabulary.js';
import { MemoryOutbox } from '../../src/outbox/memory-outbox.js';
import { DeliveryEvents } from '../../src/telemetry/delivery-events.js';
import { Metrics } from '../../src/telemetry/metrics.js';
import { lettersOf } from '../outbox/outbox.contract.js';
import { aDelivery, anEndpoint, TEST_SECRET } from '../support/domain.js';
import { ACCEPTED, FakeSender, PREVENTED, rejected } from '../support/fake-sender.js';
import { heapBytes } from '../support/heap.js';
import { fixedChance, ManualClock, settled } from '../support/manual-clock.js';

interface LogLine {
  readonly event: string;
  readonly id?: string;
}

/** A started worker with its parts; disposing stops it. */
function aWorker(
  given: Partial<Endpoint> = {},
  maxAgesMs: ReadonlyMap<string, number> = new Map(),
) {
  const endpoint = anEndpoint(given);
  const clock = new ManualClock();
  const outbox = new MemoryOutbox(clock, () => undefined);
  const sender = new FakeSender();
  const lines: LogLine[] = [];
  const log = pino({ level: 'info' }, { write: (line) => void lines.push(JSON.parse(line)) });
  const metrics = new Metrics({ endpoints: new Map([[endpoint.name, endpoint]]), routes: [] });
  const events = new DeliveryEvents(log, metrics, clock);
  const serverNowMs = () => clock.nowMs();
  const live = { endpoint };
  const parts = {
    current: () => live.endpoint,
    sender,
    outbox,
    maxAgeMs: (route: string) => maxAgesMs.get(route) ?? null,
    events,
    serverNowMs,
    clock,
    chance: fixedChance(),
  };
  const worker = new Worker(parts);
  worker.start();
  return {
    worker,
    /** Changes the endpoint, as a reload does. */
    change: async (changes: Partial<Endpoint>) => {
      const before = live.endpoint;
      live.endpoint = { ...before, ...changes };
      worker.update(before);
      await settled();
    },
    clock,
    outbox,
    sender,
    metrics,
    logged: (event: string) => lines.filter((line) => line.event === event),
    store: async (...ids: string[]) => {
      await outbox.enqueue(ids.map((id) => aDelivery({ id })));
      await settled();
    },
    answer: async (...outcome: Parameters<FakeSender['answer']>) => {
      sender.answer(...outcome);
      await settled();
    },
    pending: async () => (await outbox.depth('shop')).pending,
    dead: async () =>
      (await lettersOf(outbox.dead)).map(({ delivery, reason, attempts }) => ({
        id: delivery.id,
        reason,
        attempts,
      })),
    [Symbol.asyncDispose]: () => worker.stop(AbortSignal.abort()),
  };
}

/** Whether the promise has been fulfilled by now. */
async function isOver(promise: Promise<unknown>): Promise<boolean> {
  let over = false;
  void promise.then(() => {
    over = true;
  });
  await settled();
  return over;
}

const never = new AbortController().signal;

describe('a worker', () => {
  it('sends the deliveries of the outbox and removes the accepted ones', async () => {
    await using under = aWorker();
    await under.store('a', 'b');
    expect(under.sender.sent).toEqual(['a', 'b']);
    await under.answer();
    expect(await under.pending()).toBe(1);
    await under.answer();
    expect(await under.pending()).toBe(0);
    expect(under.logged('attempt')).toHaveLength(2);
  });

  it('retries a delivery whose request cannot be built, sends the others, and stops', async () => {
    const under = aWorker();
    // Has a length, but is nothing that can be signed.
    const body = { length: 1 } as unknown as Buffer;
    await under.outbox.enqueue([
      aDelivery({ id: 'a' }),
      aDelivery({ id: 'b', body }),
      aDelivery({ id: 'c' }),
    ]);
    await settled();
    expect(under.sender.sent).toEqual(['a', 'c']);
    await under.answer();
    await under.answer();
    expect(under.logged('attempt')).toContainEqual(
      expect.objectContaining({ id: 'b', reason: 'internal_error', disposition: 'retry' }),
    );
    expect(await under.pending()).toBe(1);
    await under.worker.stop(never);
  });

  it('starts another webhook when one is accepted, and waits while too many are not settled', async () => {
    await using under = aWorker({ concurrency: 2 });
    const { outbox, sender } = under;
    const held: (() => void)[] = [];
    const settleDone = outbox.settleDone.bind(outbox);
    outbox.settleDone = async (...args) => {
      await new Promise<void>((resolve) => held.push(resolve));
      return settleDone(...args);
    };
    await under.store('a', 'b', 'c', 'd', 'e');
    await under.answer();
    expect(sender.sent).toEqual(['a', 'b', 'c']);
    await under.answer();
    // The first two are not settled yet: c is in progress, and nothing else begins.
    expect(sender.sent).toEqual(['a', 'b', 'c']);
    await under.answer();
    expect(sender.sent).toEqual(['a', 'b', 'c']);
    for (const resolve of held.splice(0)) resolve();
    await settled();
    expect(sender.sent).toEqual(['a', 'b', 'c', 'd', 'e']);
    await under.answer();
    await under.answer();
    for (const resolve of held.splice(0)) resolve();
    await settled();
    expect(await under.pending()).toBe(0);
  });

  it('keeps the place of a rejected webhook until its wait is stored', async () => {
    await using under = aWorker({ concurrency: 1 });
    const { outbox, sender } = under;
    let store = () => undefined as unknown;
    const settle = outbox.settle.bind(outbox);
    outbox.settle = async (...args) => {
      await new Promise<void>((resolve) => {
        store = () => resolve();
      });
      return settle(...args);
    };
    await under.store('a', 'b');
    await under.answer(rejected(429, 60_000));
    expect(sender.sent).toEqual(['a']);
    store();
    await settled();
    // The endpoint is throttled now.
    expect(sender.sent).toEqual(['a']);
  });

  it('ignores the webhooks of other endpoints', async () => {
    await using under = aWorker();
    await under.outbox.enqueue([aDelivery({ endpoint: 'other' })]);
    await settled();
    expect(under.sender.sent).toEqual([]);
  });

  it('tries again after each wait of the schedule, then gives up', async () => {
    await using under = aWorker({ retry: { scheduleMs: [1_000, 5_000], jitter: 0 } });
    await under.store('a');
    await under.answer(rejected(500));
    await under.clock.advance(999);
    expect(under.sender.sent).toHaveLength(1);
    await under.clock.advance(1);
    expect(under.sender.sent).toHaveLength(2);
    await under.answer(rejected(500));
    await under.clock.advance(5_000);
    await under.answer(rejected(500));
    expect(await under.dead()).toEqual([{ id: 'a', reason: 'exhausted', attempts: 3 }]);
    expect(await under.pending()).toBe(0);
    await under.clock.advance(100_000);
    expect(under.sender.sent).toEqual(['a', 'a', 'a']);
  });

  it('sends other webhooks while a retry waits', async () => {
    await using under = aWorker({ concurrency: 1 });
    await under.store('a', 'b');
    await under.answer(rejected(500));
    expect(under.sender.sent).toEqual(['a', 'b']);
  });

  it('continues when the outbox fails to claim or to settle', async () => {
    await using under = aWorker();
    const { outbox } = under;
    const settleDone = outbox.settleDone.bind(outbox);
    outbox.settleDone = () => Promise.reject(new Error('the disk is full'));
    await under.store('a');
    await under.answer();
    const claim = outbox.claim.bind(outbox);
    outbox.claim = () => Promise.reject(new Error('the disk is gone'));
    await under.store('b');
    await under.answer();
    expect(under.logged('outbox_failed')).toMatchObject([
      { endpoint: 'shop', error: 'the disk is full' },
      { endpoint: 'shop', error: 'the disk is gone' },
      { endpoint: 'shop', error: 'the disk is full' },
    ]);
    outbox.settleDone = settleDone;
    outbox.claim = claim;
    await under.store('c');
    await under.clock.advance(1_000);
    expect(under.sender.sent).toEqual(['a', 'b', 'c']);
    await under.answer();
    expect(await under.pending()).toBe(0);
  });

  it('repeats a failed settle until it succeeds, and never sends the webhook again', async () => {
    await using under = aWorker();
    const { outbox } = under;
    const settleDone = outbox.settleDone.bind(outbox);
    outbox.settleDone = () => Promise.reject(new Error('no connection'));
    await under.store('a');
    await under.answer();
    await under.clock.advance(5_000);
    outbox.settleDone = settleDone;
    await under.clock.advance(500);
    expect(await under.pending()).toBe(0);
    expect(under.sender.sent).toEqual(['a']);
  });
});

describe('an attempt that the relay cannot make', () => {
  it('is not counted, and is made as soon as it can be', async () => {
    await using under = aWorker({ retry: { scheduleMs: [], jitter: 0 } });
    await under.store('a');
    await under.answer(PREVENTED);
    for (let tries = 2; tries <= 10; tries += 1) {
      await under.clock.advance(1_000);
      expect(under.sender.sent).toHaveLength(tries);
      await under.answer(PREVENTED);
    }
    expect(under.logged('breaker_opened')).toEqual([]);
    expect(under.logged('attempt')).toEqual([]);
    await under.clock.advance(1_000);
    await under.answer();
    expect(under.logged('attempt')).toMatchObject([{ id: 'a', attempt: 1, outcome: 'accepted' }]);
    expect(await under.dead()).toEqual([]);
    expect(await under.pending()).toBe(0);
  });

  it('is logged once a minute, with advice', async () => {
    await using under = aWorker();
    under.sender.instantly = () => PREVENTED;
    await under.store('a', 'b', 'c');
    await under.clock.advance(59_000);
    const said = under.logged('attempt_prevented');
    expect(said).toMatchObject([{ endpoint: 'shop', code: 'EMFILE', error: 'too many files' }]);
    expect(said).toHaveProperty('0.msg', expect.stringContaining('ulimit -n'));
    await under.clock.advance(2_000);
    expect(under.logged('attempt_prevented')).toHaveLength(2);
    // One attempt a second for any number of waiting webhooks, and no busy loop.
    expect(under.sender.sent.length).toBeLessThan(4 * 63);
  });

  it('does not stop other attempts from using free places', async () => {
    await using under = aWorker({ concurrency: 4 });
    await under.store('a', 'b');
    under.sender.instantly = () => PREVENTED;
    await under.store('c', 'd', 'e');
    under.sender.instantly = () => null;
    expect(under.sender.underWay).toEqual(['a', 'b']);
    await under.answer();
    await under.answer();
    expect(under.sender.underWay).toHaveLength(2);
    // The failure may be over.
    await under.clock.advance(1_000);
    expect(under.sender.underWay).toHaveLength(3);
  });

  it('does not delay a stop', async () => {
    await using under = aWorker();
    under.sender.instantly = () => PREVENTED;
    await under.store('a');
    expect(await isOver(under.worker.stop(never))).toBe(true);
    expect(await under.pending()).toBe(1);
  });
});

describe('lateness', () => {
  it('is counted once: neither for a prevented attempt nor for a replay', async () => {
    await using under = aWorker({ retry: { scheduleMs: [], jitter: 0 } });
    const count = async () => {
      const { values } = await under.metrics.lateness.get();
      return values.find(({ metricName }) => metricName?.endsWith('_count'))?.value ?? 0;
    };
    await under.outbox.enqueue([aDelivery({ id: 'a', expiredAtMs: under.clock.nowMs() - 5 })]);
    await settled();
    await under.answer(PREVENTED);
    expect(await count()).toBe(0);
    await under.clock.advance(1_000);
    await under.answer(rejected(500));
    expect(await count()).toBe(1);
    expect(await under.dead()).toHaveLength(1);
    await under.outbox.dead.replay('shop', 'a');
    await settled();
    await under.answer();
    expect(await under.pending()).toBe(0);
    expect(await count()).toBe(1);
  });
});

describe('concurrency', () => {
  it('is used up, and never exceeded', async () => {
    await using under = aWorker({ concurrency: 2 });
    await under.store('a', 'b', 'c', 'd', 'e');
    expect(under.sender.underWay).toEqual(['a', 'b']);
    await under.answer();
    expect(under.sender.underWay).toEqual(['b', 'c']);
    for (let answered = 1; answered < 5; answered += 1) await under.answer();
    expect(under.sender.sent).toEqual(['a', 'b', 'c', 'd', 'e']);
    expect(under.sender.underWayMax).toBe(2);
  });

  it('is filled up by a claim that waited while attempts were in progress', async () => {
    await using under = aWorker({ concurrency: 3 });
    await under.store('a');
    await under.store('b', 'c', 'd');
    expect(under.sender.underWay).toEqual(['a', 'b', 'c']);
  });
});

describe('memory', () => {
  it('does not grow with the attempts that end while others hang', async () => {
    await using under = aWorker({ concurrency: 100 });
    under.sender.instantly = (id) => (id.startsWith('hangs') ? null : ACCEPTED);
    await under.store(...Array.from({ length: 99 }, (_, i) => `hangs_${i}`));
    const beforeBytes = heapBytes();
    const attempts = 3_000;
    await under.store(...Array.from({ length: attempts }, (_, i) => `ends_${i}`));
    while ((await under.pending()) > 99) await settled();
    expect(under.sender.sent).toHaveLength(99 + attempts);
    expect((heapBytes() - beforeBytes) / attempts).toBeLessThan(2_000);
  });
});

describe('a rate limit', () => {
  it('spreads the attempts', async () => {
    await using under = aWorker({ concurrency: 99, rateLimit: { count: 20, perMs: 1_000 } });
    await under.store(...Array.from({ length: 30 }, (_, i) => `msg_${i}`));
    expect(under.sender.sent).toHaveLength(2);
    await under.clock.advance(49);
    expect(under.sender.sent).toHaveLength(2);
    await under.clock.advance(1);
    expect(under.sender.sent).toHaveLength(3);
    await under.clock.advance(950);
    expect(under.sender.sent).toHaveLength(22);
    await under.clock.advance(400);
    expect(under.sender.sent).toHaveLength(30);
  });
});

describe('an endpoint that asks for a wait', () => {
  it('gets nothing until that is over, then everything', async () => {
    await using under = aWorker({ concurrency: 1 });
    await under.store('a');
    await under.answer(rejected(429, 10_000));
    await under.store('b', 'c');
    await under.clock.advance(9_999);
    expect(under.sender.sent).toEqual(['a']);
    await under.clock.advance(1);
    await under.answer();
    await under.answer();
    await under.answer();
    expect(under.sender.sent.toSorted()).toEqual(['a', 'a', 'b', 'c']);
    expect(await under.pending()).toBe(0);
    expect(under.logged('endpoint_throttled')).toMatchObject([
      { endpoint: 'shop', retry_after_ms: 10_000 },
    ]);
  });

  it('gets nothing from a claim that was waiting when it asked', async () => {
    await using under = aWorker({ concurrency: 2 });
    await under.store('a');
    // One place is free, so the worker waits in claim while the answer arrives.
    await under.answer(rejected(503, 10_000));
    await under.store('b');
    expect(under.sender.sent).toEqual(['a']);
    expect(await under.outbox.depth('shop')).toMatchObject({
      pending: 2,
      oldestDueForMs: 0,
      throttledForMs: 10_000,
    });
    await under.clock.advance(10_000);
    expect(under.sender.sent.toSorted()).toEqual(['a', 'a', 'b']);
  });

  it('counts no attempt for a webhook that was held back', async () => {
    await using under = aWorker({ concurrency: 2, retry: { scheduleMs: [], jitter: 0 } });
    await under.store('a');
    await under.answer(rejected(503, 10_000));
    await under.store('b');
    await under.clock.advance(10_000);
    await under.answer(rejected(500));
    expect(await under.dead()).toEqual([
      { id: 'a', reason: 'exhausted', attempts: 1 },
      { id: 'b', reason: 'exhausted', attempts: 1 },
    ]);
  });

  it('waits no longer if the outbox could not store the wait at once', async () => {
    await using under = aWorker({ concurrency: 1 });
    const { outbox } = under;
    const settle = outbox.settle.bind(outbox);
    outbox.settle = () => Promise.reject(new Error('no connection'));
    await under.store('a', 'b');
    await under.answer(rejected(503, 10_000));
    await under.clock.advance(6_000);
    outbox.settle = settle;
    await under.clock.advance(3_999);
    expect(under.sender.sent).toEqual(['a']);
    await under.clock.advance(1);
    expect(under.sender.sent).toHaveLength(2);
  });

  it('may ask twice at the same time: the longer wait holds', async () => {
    await using under = aWorker({ concurrency: 3 });
    await under.store('a', 'b');
    await under.answer(rejected(429, 10_000));
    await under.answer(rejected(429, 1_000));
    await under.clock.advance(9_999);
    expect(under.sender.sent).toEqual(['a', 'b']);
    await under.clock.advance(1);
    expect(under.sender.sent.toSorted()).toEqual(['a', 'a', 'b', 'b']);
  });

  it('is named in the log once a minute, even if it asks often', async () => {
    await using under = aWorker({ retry: { scheduleMs: Array(9).fill(1_000), jitter: 0 } });
    under.sender.instantly = () => rejected(503, 5_000);
    await under.store('a', 'b');
    await under.clock.advance(40_000);
    expect(under.sender.sent.length).toBeGreaterThan(10);
    expect(under.logged('endpoint_throttled')).toHaveLength(1);
  });
});

const UNREACHABLE: Outcome = { kind: 'unreachable', reason: 'timeout', code: '', detail: '' };

/** More retries than a test waits for. */
const ids = (count: number, name = 'msg') =>
  Array.from({ length: count }, (_, n) => `${name}_${n}`);

const LATER = { retry: { scheduleMs: [9_000_000, 9_000_000], jitter: 0 } };

describe('an endpoint that does not respond', () => {
  const breakerState = async (under: ReturnType<typeof aWorker>) => {
    const { values } = await under.metrics.breakerState.get();
    return values.find(({ labels }) => labels.endpoint === 'shop')?.value;
  };

  it('is left alone after five attempts, then probed by one at a time, until it responds', async () => {
    await using under = aWorker({ concurrency: 4, ...LATER });
    expect(await breakerState(under)).toBe(0);
    await under.store(...ids(20));
    for (let n = 0; n < 5; n += 1) await under.answer(UNREACHABLE);
    expect(under.logged('breaker_opened')).toMatchObject([{ endpoint: 'shop', open_ms: 1_000 }]);
    expect(await breakerState(under)).toBe(2);
    // Attempts in progress are not interrupted.
    expect(under.sender.underWay).toHaveLength(3);
    for (let n = 0; n < 3; n += 1) await under.answer(UNREACHABLE);
    await under.clock.advance(999);
    expect(under.sender.sent).toHaveLength(8);
    await under.clock.advance(1);
    expect(under.sender.underWay).toHaveLength(1);
    expect(await breakerState(under)).toBe(1);
    await under.answer(UNREACHABLE);
    await under.clock.advance(1_999);
    expect(under.sender.sent).toHaveLength(9);
    await under.clock.advance(1);
    await under.answer();
    expect(under.sender.underWay).toHaveLength(2);
    await under.answer();
    expect(under.sender.underWay).toHaveLength(4);
    expect(await breakerState(under)).toBe(0);
    expect(under.logged('breaker_closed')).toHaveLength(1);
  });

  it('is probed even if earlier attempts hang', async () => {
    await using under = aWorker({ concurrency: 7, ...LATER });
    await under.store(...ids(7));
    for (let n = 0; n < 5; n += 1) await under.answer(UNREACHABLE);
    await under.store('probe', 'next', 'third');
    await under.clock.advance(1_000);
    expect(under.sender.underWay).toEqual(['msg_5', 'msg_6', 'probe']);
    // Neither response ends the probing, and neither timeout lengthens it.
    await under.answer(UNREACHABLE);
    await under.answer();
    expect(under.sender.underWay).toEqual(['probe']);
    await under.answer();
    expect(under.sender.underWay).toEqual(['next', 'third']);
  });

  it('gets nothing from a claim that was waiting when the breaker opened', async () => {
    await using under = aWorker({ concurrency: 6, ...LATER });
    await under.store(...ids(5));
    for (let n = 0; n < 5; n += 1) await under.answer(UNREACHABLE);
    await under.store('late', 'later');
    expect(under.sender.sent).toHaveLength(5);
    await under.clock.advance(1_000);
    expect(under.sender.underWay).toEqual(['late']);
  });

  it('does not delay a stop or a drain', async () => {
    await using under = aWorker({ concurrency: 5, ...LATER });
    await under.store(...ids(9));
    for (let n = 0; n < 5; n += 1) await under.answer(UNREACHABLE);
    for (let n = 0; n < 4; n += 1) await under.answer(UNREACHABLE);
    await under.store('late');
    expect(await isOver(under.worker.drained(never))).toBe(true);
    expect(await isOver(under.worker.stop(never))).toBe(true);
    expect(await under.pending()).toBe(10);
  });
});

describe('an endpoint that fails most webhooks', () => {
  it('gets one at a time, and twice as many after each success', async () => {
    await using under = aWorker({ concurrency: 8, ...LATER });
    under.sender.instantly = () => rejected(500);
    await under.store(...ids(50));
    expect(under.logged('breaker_half_open')).toMatchObject([{ endpoint: 'shop' }]);
    under.sender.instantly = () => null;
    await under.store(...ids(20, 'next'));
    for (const underWay of [1, 2, 4, 8]) {
      expect(under.sender.underWay).toHaveLength(underWay);
      await under.answer();
    }
    expect(under.sender.underWay).toHaveLength(8);
    expect(under.logged('breaker_closed')).toHaveLength(1);
  });

  it('gets good webhooks at once while many others wait for their retries', async () => {
    await using under = aWorker({ retry: { scheduleMs: Array(9).fill(5_000), jitter: 0 } });
    under.sender.instantly = (id) => (id.startsWith('bad') ? rejected(500) : ACCEPTED);
    await under.store(...ids(200, 'bad'));
    for (const id of ids(8, 'good')) {
      await under.clock.advance(5_000);
      await under.store(id);
      expect(under.sender.sent).toContain(id);
    }
    expect(await under.pending()).toBe(200);
  });
});

describe('an endpoint that is gone', () => {
  it('gets nothing more: new and waiting deliveries become dead letters', async () => {
    await using under = aWorker({ concurrency: 1, retry: { scheduleMs: [1_000], jitter: 0 } });
    await under.store('a');
    await under.answer(rejected(500));
    await under.store('b');
    await under.answer(rejected(410));
    await under.store('c');
    await under.clock.advance(1_000);
    expect(under.sender.sent).toEqual(['a', 'b']);
    expect(await under.dead()).toMatchObject([
      { id: 'b', reason: 'gone' },
      { id: 'c', reason: 'gone' },
      { id: 'a', reason: 'gone' },
    ]);
    expect(await under.pending()).toBe(0);
    await under.clock.advance(10_000);
    expect(under.logged('dead_unattempted')).toMatchObject([{ count: 1 }, { count: 1 }]);
  });

  it('has no rate limit: waiting deliveries become dead letters at once', async () => {
    await using under = aWorker({ concurrency: 2, rateLimit: { count: 1, perMs: 3_600_000 } });
    await under.store('a', 'b', 'c');
    await under.answer(rejected(410));
    expect((await under.dead()).map(({ id }) => id)).toEqual(['a', 'b', 'c']);
    // Only that of the log, which limits the lines for a while.
    expect(under.clock.timers).toBe(1);
  });

  it('is logged as gone once, even after many 410 responses', async () => {
    await using under = aWorker({ concurrency: 2 });
    await under.store('a', 'b');
    await under.answer(rejected(410));
    await under.answer(rejected(410));
    expect(under.logged('endpoint_gone')).toHaveLength(1);
  });

  it('adds a note to the readiness checks, which is missing before', async () => {
    await using under = aWorker();
    await under.store('a');
    expect(goneChecks(under.worker.isGone ? ['shop'] : [])).toEqual([]);
    await under.answer(rejected(410));
    expect(goneChecks(under.worker.isGone ? ['shop'] : [])).toEqual([
      {
        name: 'endpoints',
        problem: null,
        note: 'returned 410: shop; the relay sends nothing to them until a reload',
      },
    ]);
  });

  it('does not delay a stop when it had asked for a wait before', async () => {
    await using under = aWorker({ concurrency: 3 });
    await under.store('a', 'b');
    await under.answer(rejected(429, 60_000));
    await under.answer(rejected(410));
    await under.store('c');
    expect((await under.dead()).map(({ id }) => id)).toEqual(['b', 'c']);
    await under.clock.advance(60_000);
    expect((await under.dead()).map(({ id }) => id)).toEqual(['b', 'c', 'a']);
    expect(under.sender.sent).toEqual(['a', 'b']);
  });
});

describe('a webhook with a maximum age', () => {
  const maxAges = new Map([['cancel', 60_000]]);

  it('is sent up to that age, and is a dead letter after it, before the first attempt and between two', async () => {
    await using under = aWorker({ retry: { scheduleMs: [30_001], jitter: 0 } }, maxAges);
    const expiredAtMs = under.clock.nowMs() - 30_000;
    const route = 'cancel';
    await under.outbox.enqueue([
      aDelivery({ id: 'young', route, expiredAtMs }),
      aDelivery({ id: 'old', route, expiredAtMs: expiredAtMs - 30_001 }),
      aDelivery({ id: 'undated', route, expiredAtMs: null, detectedAtMs: expiredAtMs - 30_001 }),
      aDelivery({ id: 'unlimited', route: 'other', expiredAtMs: expiredAtMs - 30_001 }),
    ]);
    await settled();
    expect(under.sender.sent).toEqual(['young', 'unlimited']);
    await under.answer(rejected(500));
    await under.answer(rejected(500));
    await under.clock.advance(30_001);
    expect(under.sender.sent).toEqual(['young', 'unlimited', 'unlimited']);
    expect(await under.dead()).toEqual([
      { id: 'old', reason: 'too_old', attempts: 0 },
      { id: 'undated', reason: 'too_old', attempts: 0 },
      { id: 'young', reason: 'too_old', attempts: 1 },
    ]);
    await under.clock.advance(10_000);
    const counts = under.logged('dead_too_old').map((line) => Number(Reflect.get(line, 'count')));
    expect(counts.reduce((sum, count) => sum + count)).toBe(3);
  });

  it('is sent at any age once it is replayed', async () => {
    await using under = aWorker({}, maxAges);
    const expiredAtMs = under.clock.nowMs() - 60_001;
    await under.outbox.enqueue([aDelivery({ id: 'old', route: 'cancel', expiredAtMs })]);
    await settled();
    await under.outbox.dead.replay('shop', 'old');
    await settled();
    expect(under.sender.sent).toEqual(['old']);
  });

  it('takes nothing of the rate limit when it is too old', async () => {
    const rateLimit = { count: 1, perMs: 3_600_000 };
    await using under = aWorker({ concurrency: 2, rateLimit }, maxAges);
    const expiredAtMs = under.clock.nowMs() - 60_001;
    const old = ['a', 'b', 'c'].map((id) => aDelivery({ id, route: 'cancel', expiredAtMs }));
    await under.outbox.enqueue([...old, aDelivery({ id: 'd', route: 'other' })]);
    await settled();
    expect(under.sender.sent).toEqual(['d']);
    expect(await under.dead()).toHaveLength(3);
  });
});

describe('a drain', () => {
  it('lasts until all that is due has been attempted', async () => {
    await using under = aWorker({ concurrency: 1 });
    await under.store('a', 'b');
    const drained = under.worker.drained(never);
    await under.answer();
    await under.clock.advance(1_000);
    expect(await isOver(drained)).toBe(false);
    await under.answer();
    await under.clock.advance(20);
    expect(await isOver(drained)).toBe(true);
  });

  it('does not wait for a retry that is not due', async () => {
    await using under = aWorker();
    await under.store('a');
    await under.answer(rejected(500));
    expect(await isOver(under.worker.drained(never))).toBe(true);
  });

  it('does not wait for an endpoint that asked for a wait', async () => {
    await using under = aWorker({ concurrency: 1 });
    await under.store('a', 'b');
    await under.answer(rejected(429, 60_000));
    expect(under.sender.sent).toEqual(['a']);
    expect(await isOver(under.worker.drained(never))).toBe(true);
  });

  it('waits for the rate limit', async () => {
    await using under = aWorker({ rateLimit: { count: 1, perMs: 1_000 } });
    await under.store('a', 'b');
    await under.answer();
    const drained = under.worker.drained(never);
    await under.clock.advance(900);
    expect(await isOver(drained)).toBe(false);
    await under.clock.advance(100);
    await under.answer();
    await under.clock.advance(20);
    expect(await isOver(drained)).toBe(true);
  });

  it('ends when its signal aborts', async () => {
    await using under = aWorker({ concurrency: 1 });
    await under.store('a', 'b');
    const giveUp = new AbortController();
    const drained = under.worker.drained(giveUp.signal);
    expect(await isOver(drained)).toBe(false);
    giveUp.abort();
    expect(await isOver(drained)).toBe(true);
  });
});

describe('a stop', () => {
  it('claims nothing more, and waits for attempts in progress', async () => {
    await using under = aWorker({ concurrency: 1 });
    await under.store('a', 'b');
    const stopped = under.worker.stop(never);
    expect(await isOver(stopped)).toBe(false);
    expect(under.sender.closed).toBe(false);
    await under.answer();
    expect(await isOver(stopped)).toBe(true);
    expect(under.sender.closed).toBe(true);
    expect(under.sender.sent).toEqual(['a']);
    expect(await under.pending()).toBe(1);
  });

  it.each([
    ['waits in claim', { concurrency: 2 }],
    ['waits for the rate limit', { rateLimit: { count: 1, perMs: 60_000 } }],
  ])('ends at once when no attempt is in progress and the worker %s', async (_, given) => {
    await using under = aWorker(given);
    await under.store('a');
    await under.answer();
    expect(await isOver(under.worker.stop(never))).toBe(true);
  });

  it('ends at once while the endpoint is throttled', async () => {
    await using under = aWorker();
    await under.store('a');
    await under.answer(rejected(429, 60_000));
    expect(await isOver(under.worker.stop(never))).toBe(true);
  });

  it('aborts attempts in progress once the grace period is over, and keeps them for a retry', async () => {
    await using under = aWorker();
    await under.store('a');
    const graceOver = new AbortController();
    const stopped = under.worker.stop(graceOver.signal);
    expect(await isOver(stopped)).toBe(false);
    graceOver.abort();
    expect(await isOver(stopped)).toBe(true);
    expect(await under.pending()).toBe(1);
    expect(await under.dead()).toEqual([]);
  });
});

describe('a worker whose endpoint changes by a reload', () => {
  const unreachable: Outcome = {
    kind: 'unreachable',
    reason: 'connection_refused',
    code: 'ECONNREFUSED',
    detail: '',
  };

  /** A worker whose breaker is open, and that has a delivery waiting. */
  async function anOpenBreaker() {
    const under = aWorker({ concurrency: 1, retry: { scheduleMs: [], jitter: 0 } });
    await under.store(...Array.from({ length: 6 }, (_, n) => `m${n}`));
    for (let n = 0; n < 5; n += 1) await under.answer(unreachable);
    expect(under.logged('breaker_opened')).toHaveLength(1);
    expect(under.sender.sent).toHaveLength(5);
    return under;
  }

  it('keeps its breaker when only the credentials change', async () => {
    await using under = await anOpenBreaker();
    await under.change({ secrets: [new Secret(TEST_SECRET)], headers: { x: new Secret('y') } });
    expect(under.sender.sent).toHaveLength(5);
  });

  it('closes its breaker when anything else changes: it knows nothing about the new address', async () => {
    await using under = await anOpenBreaker();
    await under.change({ url: new URL('http://other/') });
    expect(under.sender.sent).toHaveLength(6);
    await under.answer(ACCEPTED);
    expect(under.logged('breaker_closed')).toEqual([]);
  });

  it('counts attempts in progress in the new concurrency', async () => {
    await using under = aWorker({ concurrency: 2 });
    await under.store('a', 'b', 'c', 'd', 'e');
    expect(under.sender.sent).toHaveLength(2);
    await under.change({ concurrency: 3 });
    expect(under.sender.sent).toHaveLength(3);
    await under.change({ concurrency: 1 });
    await under.answer(ACCEPTED);
    await under.answer(ACCEPTED);
    expect(under.sender.sent).toHaveLength(3);
    await under.answer(ACCEPTED);
    expect(under.sender.sent).toHaveLength(4);
  });

  it('delivers again after a 410, and forgets it once its dead letters are stored', async () => {
    await using under = aWorker({ concurrency: 1 });
    const forgotten: string[] = [];
    under.outbox.forgetGone = async (endpoint: string) => void forgotten.push(endpoint);
    await under.store('a', 'b');
    await under.answer(rejected(410));
    await under.worker.drained(AbortSignal.abort());
    expect(under.worker.isGone).toBe(true);
    under.worker.retryGone();
    await settled();
    expect(under.worker.isGone).toBe(false);
    expect(forgotten).toEqual(['shop']);
    await under.store('c');
    await under.answer(ACCEPTED);
    expect((await under.dead()).map(({ id }) => id).sort()).toEqual(['a', 'b']);
    expect(await under.pending()).toBe(0);
    expect(under.logged('endpoint_retried')).toHaveLength(1);
  });
});
