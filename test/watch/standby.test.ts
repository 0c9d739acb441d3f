import { pino } from 'pino';
import { describe, expect, it, onTestFinished } from 'vitest';
import type { QueuedEvent } from '../../src/capture/event-queue.js';
import { namesOf, Sequence } from '../../src/capture/sequence.js';
import type { CapturedName } from '../../src/deadlines/deadlines.js';
import { systemClock, untilAborted } from '../../src/lib/clock.js';
import { Condition } from '../../src/lib/condition.js';
import { RedisChangedError, StateUnavailableError } from '../../src/model/errors.js';
import type { KeyEvent, KeyInDatabase } from '../../src/model/vocabulary.js';
import { ALL_SLOTS } from '../../src/redis/slots.js';
import type { Session } from '../../src/source/session.js';
import type { Lease } from '../../src/state/lease.js';
import { Metrics } from '../../src/telemetry/metrics.js';
import { WatchEvents } from '../../src/telemetry/watch-events.js';
import { Standby } from '../../src/watch/standby.js';
import { anExpiredEvent } from '../support/domain.js';
import { ManualClock, settled } from '../support/manual-clock.js';

/** A lease that a test gives and takes. */
class GivenLease implements Lease {
  token: string | null = null;
  readonly generation = 1;
  readonly number = 1;
  readonly isHeldByOther = false;
  #isDue = false;
  #terms = 0;
  readonly #bell = new Condition();
  readonly #clock = new ManualClock();
  readonly #did: string[];

  constructor(did: string[]) {
    this.#did = did;
  }

  reconfigure(): void {}

  give(): void {
    this.#terms += 1;
    this.token = `token ${this.#terms}`;
    this.#bell.notifyAll();
  }

  take(): void {
    this.token = null;
    this.#isDue = false;
    this.#bell.notifyAll();
  }

  /** A replica of a newer configuration is ready to take over. */
  makeDue(): void {
    this.#isDue = true;
    this.#bell.notifyAll();
  }

  compete(): void {
    this.#did.push('competes');
  }

  withdraw(): void {
    this.#did.push('withdraws');
    this.take();
  }

  async taken(signal: AbortSignal): Promise<void> {
    while (this.token === null && !signal.aborted) await this.#bell.wait(this.#clock, null, signal);
  }

  async lost(signal: AbortSignal): Promise<void> {
    while (this.token !== null && !signal.aborted) await this.#bell.wait(this.#clock, null, signal);
  }

  async due(signal: AbortSignal): Promise<void> {
    while (!this.#isDue && this.token !== null && !signal.aborted) {
      await this.#bell.wait(this.#clock, null, signal);
    }
  }

  delivers(): boolean {
    return true;
  }

  async stop(): Promise<void> {
    this.take();
  }
}

const DETECTED_AT_MS = Date.parse('2026-11-22T06:00:10.000Z');

const nameOf = ({ key }: KeyInDatabase) => key.toString();

/** A standby that records its actions in order. */
function aStandby() {
  const did: string[] = [];
  const lease = new GivenLease(did);
  const clock = new ManualClock();
  /** Captures of relays of version 0.1, captures of the last seconds, and the deadlines of the index. */
  const captured = new Map<string, number>();
  const elsewhere = new Map<string, Pick<CapturedName, 'name' | 'detectedAtMs'>>();
  const known = new Map<string, number>();
  /** Deadlines that a replica without a route for their keys has set aside. */
  const aside = new Map<string, number>();
  /** The mark before which the other replica has settled all. */
  const stored: { settled: string | null } = { settled: null };
  /** The names under which other replicas have captured expirations. */
  const capturedAs = new Set<string>();
  /** Conditions for: the primary is verified, the state is read, all is received or stored, a watch is over. */
  const gates = {
    primary: async () => {},
    isMarked: true,
    look: async () => {},
    barrier: async () => {},
    settled: async (_: AbortSignal) => {},
    end: async () => {},
    verify: async (_: AbortSignal) => true,
  };
  const serverNowMs = () => DETECTED_AT_MS + 60_000 + clock.monotonicMs();
  /** The events in the queue when another replica is found to hold the lease. */
  const queue = { isSuspended: false, events: [] as KeyEvent[], bell: new Condition() };
  /** The deadlines of the keys that exist, and the keys that were read. */
  const there = new Map<string, number>();
  const reads: string[] = [];
  const log = pino({ level: 'silent' });
  const metrics = new Metrics({ endpoints: new Map(), routes: [] });
  const names = new Map<Session, string>();
  /** The names of all expirations that were passed on. */
  const identities: (readonly string[])[] = [];
  /** All events that were passed on. */
  const pushed: KeyEvent[] = [];
  let marksWritten = 0;
  const marked = (mark: string) => feed.onEvent({ kind: 'mark', mark });
  const replica = new Standby({
    lease,
    server: { verify: (_, signal) => gates.verify(signal) },
    clock,
    events: new WatchEvents(log, metrics, clock),
    routing: { isRouted: (key) => key.toString().startsWith('order') },
    intake: {
      push: (event) => {
        pushed.push(event);
        const readMs = event.kind === 'changed' ? event.readDeadlineMs : undefined;
        const until = readMs === undefined ? '' : ` until ${readMs - DETECTED_AT_MS}`;
        did.push(`${event.kind} ${nameOf(event)}${until}`);
        if (event.kind === 'expired') identities.push(namesOf(event));
      },
    },
    queue: {
      drained: async (signal) => {
        await Promise.race([gates.settled(signal), untilAborted(signal)]);
      },
      suspended: async (signal) => {
        while (!queue.isSuspended && !signal.aborted) await queue.bell.wait(clock, null, signal);
      },
      reset: () => {
        queue.isSuspended = false;
        // A standby uses only the fields of plain events.
        return queue.events.splice(0) as QueuedEvent[];
      },
    },
    databases: [0],
    deadlines: {
      bringBack: async () => {
        for (const [key, deadlineMs] of aside) known.set(key, deadlineMs);
      },
      capturedByOlder: async (keys) => {
        await gates.look();
        return keys.map((key) => captured.get(nameOf(key)) ?? null);
      },
      areCaptured: async (all) => all.map((one) => capturedAs.has(`${nameOf(one)} ${one.name}`)),
      find: async (keys) => keys.map((key) => known.get(nameOf(key)) ?? null),
      watermark: async () => (stored.settled === null ? [] : [stored.settled]),
      recentlyCaptured: async function* () {
        yield [...elsewhere].map(([key, { name, detectedAtMs }]) => {
          return { database: 0, key: Buffer.from(key), name, detectedAtMs };
        });
      },
    },
  });
  const feed = replica.follow({
    slots: ALL_SLOTS,
    sequence: new Sequence(),
    marks: {
      write: async () => {
        if (!gates.isMarked) return null;
        marksWritten += 1;
        marked(`own.${marksWritten}.1`);
        return `own.${marksWritten}.1`;
      },
    },
    watch: {
      begin: (session) => void did.push(`watch ${names.get(session)}`),
      end: async () => {
        await gates.end();
        did.push('watch ended');
      },
    },
    serverClock: { nowMs: serverNowMs },
  });
  const { onSubscribing, onEvent, onConnected, onDisconnected } = feed;
  const standby = {
    ...{ onSubscribing, onEvent, onConnected, onDisconnected },
    stop: () => replica.stop(),
  };
  replica.start();
  onTestFinished(() => standby.stop());
  const session = (name: string, runId = 'a', alive: readonly string[] = []): Session => {
    const nudge = async (keys: readonly KeyInDatabase[]) =>
      keys.map((key) => ({ ...key, ttl: alive.includes(nameOf(key)) ? 'volatile' : 'missing' }));
    const read = async (keys: readonly KeyInDatabase[]) =>
      keys.map((key) => {
        reads.push(nameOf(key));
        const deadlineMs = there.get(nameOf(key)) ?? null;
        return { ...key, ttl: deadlineMs === null ? 'missing' : 'volatile', deadlineMs };
      });
    const made = {
      runId,
      keyspace: { nudge, read },
      isPrimary: () => gates.primary(),
      marks: { isOfServer: (name: string) => name.startsWith(`${runId}.`) },
      barrier: () => gates.barrier(),
    } as unknown as Session;
    names.set(made, name);
    return made;
  };
  /** The actions since the last call. */
  const done = async () => {
    await settled();
    return did.splice(0);
  };
  const expiredAt = (detectedAtMs: number, ...keys: string[]) => {
    for (const key of keys) {
      standby.onEvent(anExpiredEvent({ key: Buffer.from(key), detectedAtMs }));
    }
  };
  const expired = (...keys: string[]) => expiredAt(DETECTED_AT_MS, ...keys);
  const noticed = (kind: 'changed' | 'removed', key: string) =>
    standby.onEvent({ kind, database: 0, key: Buffer.from(key), detectedAtMs: serverNowMs() });
  /** Another replica is found to hold the lease, with these events yet to be captured. */
  const suspend = async (events: readonly KeyEvent[]) => {
    queue.events.push(...events);
    queue.isSuspended = true;
    queue.bell.notifyAll();
    await settled();
  };
  const received = { expired, expiredAt, noticed, marked };
  return {
    standby,
    lease,
    clock,
    captured,
    capturedAs,
    queue,
    pushed,
    elsewhere,
    known,
    aside,
    stored,
    identities,
    there,
    reads,
    serverNowMs,
    gates,
    session,
    done,
    ...received,
    suspend,
    metrics,
  };
}

/** A standby that listens, with its start already taken from the record. */
async function listening() {
  const under = aStandby();
  const first = under.session('first');
  under.standby.onConnected(first);
  await under.done();
  return { ...under, first };
}

/** A standby that watches. */
async function watching() {
  const under = await listening();
  under.lease.give();
  await under.done();
  return under;
}

describe('a replica watches', () => {
  it('once it listens, when it has the lease already', async () => {
    const { standby, lease, session, done } = aStandby();
    lease.give();
    expect(await done()).toEqual([]);
    standby.onConnected(session('first'));
    expect(await done()).toEqual(['competes', 'watch first']);
  });

  it('once it has the lease, when it listens already, and not before', async () => {
    const { lease, done } = await listening();
    expect(await done()).toEqual([]);
    lease.give();
    expect(await done()).toEqual(['watch first']);
  });

  it('no longer when it loses the lease, and again when it has it again', async () => {
    const { lease, done } = await watching();
    lease.take();
    expect(await done()).toEqual(['watch ended']);
    lease.give();
    expect(await done()).toEqual(['watch first']);
  });

  it('until the connection ends, and again with the next connection', async () => {
    const { standby, lease, session, done } = await watching();
    await standby.onDisconnected();
    expect(await done()).toEqual(['watch ended', 'withdraws']);
    standby.onConnected(session('second'));
    expect(await done()).toEqual(['competes']);
    lease.give();
    expect(await done()).toEqual(['watch second']);
  });

  it('not when it acquires the lease after the connection has ended', async () => {
    const { standby, lease, done } = await listening();
    await standby.onDisconnected();
    await done();
    lease.give();
    expect(await done()).toEqual([]);
  });

  it('no longer once it is stopped, even if it acquires the lease', async () => {
    const { standby, lease, done } = await watching();
    await standby.stop();
    expect(await done()).toEqual(['watch ended']);
    lease.take();
    lease.give();
    expect(await done()).toEqual([]);
  });

  it('not when it is stopped before it has the lease', async () => {
    const { standby, done } = await listening();
    await standby.stop();
    expect(await done()).toEqual([]);
  });

  it('not for a connection that is over before the last watch has ended', async () => {
    const { standby, gates, session, done } = await watching();
    const ended = new AbortController();
    gates.end = () => untilAborted(ended.signal);
    const first = standby.onDisconnected();
    standby.onConnected(session('second'));
    const over = [first, standby.onDisconnected()];
    await done();
    ended.abort();
    await Promise.all(over);
    expect((await done()).filter((what) => what.startsWith('watch'))).toEqual(['watch ended']);
  });

  it('and sets the metrics accordingly', async () => {
    const { lease, metrics, done } = await watching();
    const value = async () =>
      /^expiry_relay_watching (\d)/m.exec(await metrics.text(systemClock.turn))?.[1];
    expect(await value()).toBe('1');
    lease.take();
    await done();
    expect(await value()).toBe('0');
  });
});

describe('a replica that watches', () => {
  it('captures the events that it receives at once, in order', async () => {
    const { expired, noticed, done } = await watching();
    noticed('changed', 'order:1');
    expired('order:1');
    noticed('removed', 'order:2');
    expect(await done()).toEqual(['changed order:1', 'expired order:1', 'removed order:2']);
  });

  it('keeps the lease after a disconnection until all received events are stored', async () => {
    const { standby, gates, done } = await watching();
    const stored = new AbortController();
    gates.settled = () => untilAborted(stored.signal);
    const over = standby.onDisconnected();
    expect(await done()).toEqual(['watch ended']);
    stored.abort();
    await over;
    expect(await done()).toEqual(['withdraws']);
  });

  it('releases the lease after a gap although it listens again: others have received what it missed', async () => {
    const { standby, gates, lease, session, expired, done } = await watching();
    const stored = new AbortController();
    gates.settled = () => untilAborted(stored.signal);
    const over = standby.onDisconnected();
    standby.onConnected(session('second'));
    expect(await done()).toEqual(['watch ended']);
    expired('order:1');
    stored.abort();
    await over;
    expect(await done()).toEqual(['withdraws', 'competes']);
    // There is no other replica.
    lease.give();
    expect(await done()).toEqual(['expired order:1', 'watch second']);
  });

  it('buffers all that it receives after a gap while only the state keeps it from capturing', async () => {
    const { standby, gates, lease, session, clock, expired, done } = await watching();
    const stored = new AbortController();
    gates.settled = () => untilAborted(stored.signal);
    const over = standby.onDisconnected();
    standby.onConnected(session('second'));
    await done();
    expired('order:1');
    await clock.advance(60_000);
    expired('order:2');
    stored.abort();
    await over;
    await done();
    lease.give();
    expect(await done()).toEqual(['expired order:1', 'expired order:2', 'watch second']);
  });

  it.each(['it loses the lease', 'it is stopped'])(
    'stops waiting for the stored events when %s',
    async (what) => {
      const { standby, lease, gates, done } = await watching();
      gates.settled = untilAborted;
      const over = standby.onDisconnected();
      await done();
      if (what === 'it is stopped') await standby.stop();
      else lease.take();
      await over;
      expect(await done()).toEqual(['withdraws']);
    },
  );
});

describe('a replica that holds the lease when a newer configuration is ready', () => {
  it('stops watching, stores the received events, hands the lease over, and stands by', async () => {
    const { lease, gates, expired, done } = await watching();
    const stored = new AbortController();
    gates.settled = () => untilAborted(stored.signal);
    lease.makeDue();
    expect(await done()).toEqual(['watch ended']);
    expired('order:1');
    stored.abort();
    expect(await done()).toEqual(['withdraws', 'competes']);
    // The other has died: this one captures the events received since.
    lease.give();
    expect(await done()).toEqual(['expired order:1', 'watch first']);
  });
});

describe('a replica that listens to a server that is yet to be verified', () => {
  it('does not compete for the lease, and captures the received events afterwards', async () => {
    const { standby, gates, lease, session, expired, done } = aStandby();
    const verified = new AbortController();
    gates.verify = async () => untilAborted(verified.signal).then(() => true);
    standby.onConnected(session('first'));
    expired('order:1');
    lease.give();
    expect(await done()).toEqual([]);
    verified.abort();
    expect(await done()).toEqual(['competes', 'expired order:1', 'watch first']);
  });
});

describe('a replica that takes over', () => {
  it('captures the events received while another one watched, in order, and only then watches', async () => {
    const { lease, expired, noticed, done } = await listening();
    noticed('changed', 'order:1');
    expired('order:2');
    noticed('removed', 'order:3');
    expired('order:1');
    expect(await done()).toEqual([]);
    lease.give();
    expect(await done()).toEqual([
      'changed order:1',
      'expired order:2',
      'removed order:3',
      'expired order:1',
      'watch first',
    ]);
    expired('order:4');
    expect(await done()).toEqual(['expired order:4']);
  });

  it('skips the events before the mark that the other one has settled, and no others', async () => {
    const { lease, stored, expired, noticed, marked, done } = await listening();
    expired('order:1');
    noticed('changed', 'order:1');
    marked('a.1');
    expired('order:2');
    marked('a.2');
    noticed('changed', 'order:3');
    expired('order:1');
    marked('a.3');
    stored.settled = 'a.2';
    lease.give();
    expect(await done()).toEqual(['changed order:3', 'expired order:1', 'watch first']);
  });

  it.each([
    ['there is none', null],
    ['it was received before this replica listened', 'a.0'],
  ])('captures all received events where %s', async (_, settled) => {
    const { lease, stored, expired, marked, done } = await listening();
    expired('order:1');
    marked('a.1.1');
    expired('order:2');
    stored.settled = settled;
    lease.give();
    expect(await done()).toEqual(['expired order:1', 'expired order:2', 'watch first']);
  });

  it('passes each expiration on under names that other replicas know', async () => {
    const { lease, identities, expired, marked, done } = await listening();
    expired('order:1');
    marked('a.1.1');
    expired('order:1', 'order:1', 'order:2');
    lease.give();
    await done();
    expired('order:1');
    await done();
    expect(identities).toEqual([
      ['a.1.1-1'],
      ['a.1.1+0', 'own.1.1-3'],
      ['a.1.1+1', 'own.1.1-2'],
      ['a.1.1+2', 'own.1.1-1'],
      ['own.1.1+0'],
    ]);
  });

  it('captures nothing from a demoted server, and only the notifications of the next one', async () => {
    const { standby, lease, gates, session, expired, metrics, done } = await listening();
    gates.primary = () => Promise.reject(new RedisChangedError('demoted'));
    expired('order:1');
    lease.give();
    expect(await done()).toEqual([]);
    expect(await metrics.text(systemClock.turn)).toMatch(/^expiry_relay_watching 0/m);
    await standby.onDisconnected();
    gates.primary = async () => {};
    standby.onSubscribing();
    standby.onConnected(session('second'));
    expired('order:2');
    await done();
    lease.give();
    expect(await done()).toEqual(['expired order:2', 'watch second']);
  });

  it('skips events before the first mark of a holder that was capturing, unless the index has them', async () => {
    const { lease, known, expired, marked, done } = await listening();
    known.set('order:2', DETECTED_AT_MS - 3);
    known.set('order:3', DETECTED_AT_MS + 60);
    expired('order:1', 'order:2', 'order:3');
    marked('a.1.7');
    expired('order:4');
    lease.give();
    expect(await done()).toEqual(['expired order:2', 'expired order:4', 'watch first']);
  });

  it('skips an expiration that is captured under one of its names, and the changes before it', async () => {
    const { lease, capturedAs, there, clock, expired, noticed, marked, done } = await listening();
    marked('a.1.1');
    for (const key of ['order:1', 'order:2', 'order:3']) {
      there.set(key, DETECTED_AT_MS);
      noticed('changed', key);
    }
    await clock.advance(1_000);
    expired('order:1', 'order:2');
    noticed('removed', 'order:1');
    marked('a.1.2');
    expired('order:3');
    there.clear();
    noticed('changed', 'order:3');
    capturedAs.add('order:1 a.1.1+0').add('order:2 a.1.2-1').add('order:3 a.1.1+0');
    lease.give();
    expect(await done()).toEqual([
      'changed order:3 until 0',
      'removed order:1',
      'expired order:3',
      'changed order:3',
      'watch first',
    ]);
  });

  it('captures nothing before it has received all that was published', async () => {
    const { lease, gates, expired, done } = await listening();
    const reached = new AbortController();
    gates.barrier = () => untilAborted(reached.signal);
    expired('order:1');
    lease.give();
    expect(await done()).toEqual([]);
    expired('order:2');
    reached.abort();
    expect(await done()).toEqual(['expired order:1', 'expired order:2', 'watch first']);
  });

  it('captures only expirations that others know by the same name when the connection fails', async () => {
    for (const mark of ['a.1.1', null]) {
      const { standby, lease, gates, expired, noticed, marked, done } = await listening();
      const lost = new AbortController();
      gates.isMarked = false;
      gates.barrier = async () => {
        await untilAborted(lost.signal);
        throw new Error('the connection is lost');
      };
      if (mark !== null) marked(mark);
      noticed('changed', 'order:2');
      expired('order:1');
      lease.give();
      expect(await done()).toEqual([]);
      const over = standby.onDisconnected();
      lost.abort();
      await over;
      expect(await done()).toEqual([
        ...(mark === null ? [] : ['expired order:1']),
        ...['watch first', 'watch ended', 'withdraws'],
      ]);
    }
  });

  it('skips an expiration that a relay of version 0.1 has captured, unless the index has its deadline', async () => {
    const { lease, captured, known, expired, done } = await listening();
    for (const key of ['order:1', 'order:2']) captured.set(key, DETECTED_AT_MS - 20);
    captured.set('order:3', DETECTED_AT_MS - 2_000);
    known.set('order:2', DETECTED_AT_MS - 3);
    expired('order:1', 'order:2', 'order:3', 'order:4');
    lease.give();
    expect(await done()).toEqual([
      'expired order:2',
      'expired order:3',
      'expired order:4',
      'watch first',
    ]);
  });

  it('replays the last twenty seconds, and no more', async () => {
    const { lease, clock, expired, noticed, done } = await listening();
    expired('order:1');
    noticed('changed', 'order:2');
    await clock.advance(1);
    expired('order:3');
    await clock.advance(20_000);
    lease.give();
    expect(await done()).toEqual(['expired order:3', 'watch first']);
  });

  it('does not buffer changes of keys that match no route', async () => {
    const { lease, noticed, done } = await listening();
    noticed('changed', 'session:1');
    noticed('changed', 'order:1');
    lease.give();
    expect(await done()).toEqual(['changed order:1', 'watch first']);
  });

  it('passes on no change that the other one has settled: its deadline is in the index', async () => {
    const { lease, stored, noticed, marked, expired, done } = await listening();
    noticed('changed', 'order:1');
    marked('a.1');
    stored.settled = 'a.1';
    noticed('changed', 'order:2');
    lease.give();
    expired('order:3');
    expect(await done()).toEqual(['changed order:2', 'expired order:3', 'watch first']);
  });

  it('reads the deadlines of changes that the other one does not settle, and passes them on', async () => {
    const { lease, clock, stored, there, reads, noticed, marked, done } = await listening();
    for (const [key, deadlineMs] of [['order:1', 900] as const, ['order:2', 950] as const]) {
      there.set(key, DETECTED_AT_MS + deadlineMs);
      noticed('changed', key);
      marked(`a.${key}`);
    }
    stored.settled = 'a.order:1';
    await clock.advance(1_000);
    expect(reads).toEqual(['order:2']);
    there.clear();
    lease.give();
    expect(await done()).toEqual(['changed order:2 until 950', 'watch first']);
    expect(reads).toEqual(['order:2']);
  });

  it('passes on no deadline that is out of date', async () => {
    const { lease, clock, there, noticed, done } = await listening();
    for (const key of ['order:1', 'order:2']) {
      there.set(key, DETECTED_AT_MS);
      noticed('changed', key);
    }
    await clock.advance(1_000);
    noticed('changed', 'order:1');
    there.clear();
    lease.give();
    expect(await done()).toEqual([
      'changed order:1 until 0',
      'changed order:2 until 0',
      'changed order:1',
      'watch first',
    ]);
  });

  it('keeps all events while the state cannot be read', async () => {
    const { lease, clock, stored, gates, expired, marked, done } = await listening();
    expired('order:1');
    marked('a.1');
    expired('order:2');
    stored.settled = 'a.1';
    gates.look = () => Promise.reject(new StateUnavailableError('the state Redis is away'));
    lease.give();
    await done();
    expired('order:3');
    await clock.advance(60_000);
    expect(await done()).toEqual([]);
    gates.look = async () => {};
    await clock.advance(1_000);
    expect(await done()).toEqual(['expired order:2', 'expired order:3', 'watch first']);
  });

  it('reads the state again when another one held the lease during the reading', async () => {
    const { lease, gates, capturedAs, expired, marked, done } = await listening();
    const answered = new AbortController();
    gates.look = () => untilAborted(answered.signal);
    marked('a.1.1');
    expired('order:1', 'order:2');
    lease.give();
    await done();
    lease.take();
    capturedAs.add('order:1 a.1.1+0');
    lease.give();
    answered.abort();
    expect(await done()).toEqual(['expired order:2', 'watch first']);
  });

  it('puts events received while the state is read behind the rest', async () => {
    const { lease, gates, expired, noticed, done } = await listening();
    const answered = new AbortController();
    gates.look = () => untilAborted(answered.signal);
    expired('order:1', 'order:2');
    lease.give();
    expect(await done()).toEqual([]);
    noticed('changed', 'order:2');
    expired('order:3');
    answered.abort();
    expect(await done()).toEqual([
      'expired order:1',
      'expired order:2',
      'changed order:2',
      'expired order:3',
      'watch first',
    ]);
    expired('order:4');
    expect(await done()).toEqual(['expired order:4']);
  });

  it('buffers events again after it has lost the lease, without those that it captured', async () => {
    const { lease, expired, done } = await watching();
    expired('order:1');
    lease.take();
    await done();
    expired('order:2');
    lease.give();
    expect(await done()).toEqual(['expired order:2', 'watch first']);
  });

  it('captures a key with the deadline that a replica without a route for it has set aside', async () => {
    const { lease, aside, known, expired, done } = await listening();
    aside.set('order:1', DETECTED_AT_MS);
    expired('order:1');
    lease.give();
    expect(await done()).toEqual(['expired order:1', 'watch first']);
    expect(known.get('order:1')).toBe(DETECTED_AT_MS);
  });

  it('keeps the events that it could not capture because another one had held the lease unnoticed', async () => {
    const { lease, expired, noticed, pushed, suspend, serverNowMs, done } = await watching();
    expired('order:2');
    noticed('changed', 'order:3');
    await done();
    const detectedAtMs = serverNowMs();
    const key = Buffer.from('order:5');
    // It requests its own readings again when it captures again.
    const own: KeyEvent[] = [
      { kind: 'changed', database: 0, key, detectedAtMs },
      anExpiredEvent({ key, detectedBy: 'recovery' }),
    ];
    await suspend([...pushed, ...own]);
    expired('order:4');
    expect(await done()).toEqual(['withdraws', 'competes', 'watch ended']);
    noticed('changed', 'order:4');
    lease.give();
    expect(await done()).toEqual([
      'expired order:2',
      'changed order:3',
      'expired order:4',
      'changed order:4',
      'watch first',
    ]);
    expired('order:5');
    expect(await done()).toEqual(['expired order:5']);
  });

  it('finishes its work when it loses the lease while it reads the state', async () => {
    const { lease, gates, expired, done } = await listening();
    const answered = new AbortController();
    gates.look = () => untilAborted(answered.signal);
    expired('order:1');
    lease.give();
    await done();
    lease.take();
    answered.abort();
    expect(await done()).toEqual([]);
    expired('order:2');
    lease.give();
    expect(await done()).toEqual(['expired order:1', 'expired order:2', 'watch first']);
  });

  it('captures when the lease was lost and acquired again before all was received', async () => {
    const { lease, gates, expired, done } = await listening();
    const reached = new AbortController();
    gates.barrier = () => untilAborted(reached.signal);
    expired('order:1');
    lease.give();
    await done();
    lease.take();
    lease.give();
    reached.abort();
    expect(await done()).toEqual(['expired order:1', 'watch first']);
  });

  it('captures the received events although the connection ends, and none of the next one', async () => {
    const { standby, lease, gates, clock, session, expired, done } = await listening();
    gates.look = () => Promise.reject(new StateUnavailableError('the state Redis is away'));
    expired('order:1');
    lease.give();
    await done();
    const over = standby.onDisconnected();
    standby.onSubscribing();
    standby.onConnected(session('second'));
    expired('order:2');
    expect(await done()).toEqual([]);
    gates.look = async () => {};
    await clock.advance(1_000);
    await over;
    expect(await done()).toEqual([
      'expired order:1',
      'watch first',
      'watch ended',
      'withdraws',
      'competes',
    ]);
    lease.give();
    expect(await done()).toEqual(['expired order:2', 'watch second']);
  });

  it('checks again the events that it had queued under an earlier token', async () => {
    const { lease, capturedAs, queue, pushed, expired, marked, done } = await watching();
    expired('order:1', 'order:2');
    await done();
    queue.events.push(...pushed);
    lease.take();
    await done();
    marked('a.1.1');
    expired('order:3');
    capturedAs.add('order:1 own.1.1+0').add('order:3 a.1.1+0');
    lease.give();
    expect(await done()).toEqual(['expired order:2', 'watch first']);
  });

  it('replays at most twenty seconds after it has handed the lease over', async () => {
    const { lease, clock, expired, done } = await watching();
    lease.makeDue();
    expired('order:1');
    await done();
    await clock.advance(20_001);
    expired('order:2');
    lease.give();
    expect(await done()).toEqual(['expired order:2', 'watch first']);
  });

  it('skips the events that another server repeats of captured keys, and no others', async () => {
    const { standby, lease, session, elsewhere, known, gates, expiredAt, done } = await watching();
    await standby.onDisconnected();
    lease.take();
    for (const n of [1, 2, 3, 4]) {
      elsewhere.set(`order:${n}`, { name: 'a.1.1+0', detectedAtMs: DETECTED_AT_MS });
    }
    // The holder of the lease captured these on the second server, where they expired a second time since.
    elsewhere.set('order:6', { name: 'b.1.2+0', detectedAtMs: DETECTED_AT_MS });
    elsewhere.set('order:7', { name: '=1', detectedAtMs: DETECTED_AT_MS + 90_000 });
    known.set('order:3', DETECTED_AT_MS + 2_000);
    const second = session('second', 'b', ['order:4']);
    // Received while they are read.
    gates.barrier = async () => {
      gates.barrier = async () => {};
      expiredAt(DETECTED_AT_MS + 5_000, ...[2, 3, 4, 5, 6, 7].map((n) => `order:${n}`));
    };
    standby.onConnected(second);
    expiredAt(DETECTED_AT_MS + 5_000, 'order:1');
    await done();
    lease.give();
    expect(await done()).toEqual([
      'expired order:3',
      'expired order:4',
      'expired order:5',
      'expired order:6',
      'expired order:7',
      'watch second',
    ]);
  });

  it('skips no such event of the same server', async () => {
    const { standby, lease, session, elsewhere, expiredAt, done } = await watching();
    await standby.onDisconnected();
    lease.take();
    elsewhere.set('order:1', { name: 'a.1.1+0', detectedAtMs: DETECTED_AT_MS });
    standby.onConnected(session('second'));
    expiredAt(DETECTED_AT_MS + 5_000, 'order:1');
    await done();
    lease.give();
    expect(await done()).toEqual(['expired order:1', 'watch second']);
  });

  it('discards the events received before a gap: they are incomplete', async () => {
    const { standby, lease, session, identities, expired, marked, done } = await listening();
    marked('a.1.1');
    expired('order:1');
    await standby.onDisconnected();
    // An attempt to listen that fails.
    standby.onSubscribing();
    expired('order:3');
    standby.onSubscribing();
    standby.onConnected(session('second'));
    expired('order:2');
    await done();
    lease.give();
    expect(await done()).toEqual(['expired order:2', 'watch second']);
    expect(identities).toEqual([['own.1.1-1']]);
  });
});
