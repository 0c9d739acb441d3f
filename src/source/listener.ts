/** Listens to the watched Redis: one session after another, with an increasing delay between them. */
import type { Redis } from 'ioredis';
import type { Chance, Clock } from '../lib/clock.js';
import { Condition } from '../lib/condition.js';
import type { RelayError } from '../model/errors.js';
import type { KeyEvent, MarkEvent, RedisSettings } from '../model/vocabulary.js';
import { addressOf } from '../redis/client.js';
import { isElsewhere, type Locator } from '../redis/locator.js';
import type { ServerClock } from '../redis/server-clock.js';
import type { SourceEvents } from '../telemetry/source-events.js';
import type { Proof } from './prover.js';
import { openSession, type Session } from './session.js';

const RETRY_FIRST_MS = 250;
const RETRY_MS_MAX = 5_000;

/** The random reduction of each delay, so that replicas do not reconnect at the same time. */
const RETRY_JITTER = 0.3;

export interface ListenerParts {
  /** Where the primary is. */
  readonly locator: Locator<RedisSettings>;
  /** What the relay's own keys begin with; their events are ignored. */
  readonly ownPrefixes: readonly string[];
  /** What those begin with that the relay writes on this primary. */
  readonly ownPrefix: () => string;
  /** The key of the server's id. */
  readonly serverKey: string;
  /** In a cluster, a connection to the node that has that key. */
  readonly ownerOf: ((key: string) => Promise<Redis>) | null;
  /** The channel on which marks are published; null: no other replica needs any. */
  readonly marksChannel: string | null;
  /** Set by each session to the clock of its server. */
  readonly serverClock: ServerClock;
  readonly events: SourceEvents;
  readonly clock: Clock;
  readonly chance: Chance;
}

/** Receives key events and changes of the connection. */
export interface EventSink {
  /** Called before each subscription: events may have been missed until now. */
  readonly onSubscribing: () => void;
  /** Called for each event, in the order in which Redis publishes them; must not throw or wait. */
  readonly onEvent: (event: KeyEvent | MarkEvent) => void;
  /** A session begins: the relay is subscribed. */
  readonly onConnected: (session: Session) => void;
  /**
   * The session has ended: a gap begins, or the relay stops. Resolves when all events before it are processed; the
   * listener waits for that only at a stop.
   */
  readonly onDisconnected: () => Promise<void>;
}

/** A readiness check. */
export interface ListenerCheck {
  readonly name: 'subscribed' | 'canary';
  /** The problem; null: none. */
  readonly problem: string | null;
  /** A remark while there is no problem. */
  readonly note?: string;
}

export class Listener {
  readonly #parts: ListenerParts;
  readonly #stop = new AbortController();
  #session: Session | null = null;
  /** Why there is no session. */
  #missing: string;
  #loop: Promise<void> = Promise.resolve();

  constructor(parts: ListenerParts) {
    this.#parts = parts;
    this.#missing = `Redis at ${addressOf(parts.locator.address)} has not responded yet`;
  }

  /**
   * Resolves when the relay is subscribed, however long that takes, or when it is stopped. Rejects with errors that
   * only the operator can fix; after the first session, these are waited out as well.
   */
  async start(sink: EventSink): Promise<void> {
    const session = await this.#open(sink, true);
    if (session !== null) this.#loop = this.#listen(session, sink);
  }

  /** Of the primary, for messages. */
  get address(): string {
    return addressOf(this.#parts.locator.address);
  }

  get isSubscribed(): boolean {
    return this.#session !== null;
  }

  checks(): readonly ListenerCheck[] {
    if (this.#session === null) {
      const problem = this.#stop.signal.aborted ? 'shutting down' : this.#missing;
      return [
        { name: 'subscribed', problem },
        { name: 'canary', problem },
      ];
    }
    return [{ name: 'subscribed', problem: null }, canaryCheck(this.#session.proof())];
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#loop;
  }

  async #listen(first: Session, sink: EventSink): Promise<void> {
    const { events, clock } = this.#parts;
    let gapBeganAtMs: number | null = null;
    for (
      let session: Session | null = first;
      session !== null;
      session = await this.#open(sink, false)
    ) {
      const gapMs = gapBeganAtMs === null ? null : clock.monotonicMs() - gapBeganAtMs;
      this.#session = session;
      const { address, databases } = session;
      events.listening(address, databases, gapMs);
      // Neither `onConnected` nor what follows a gap is awaited: the next session must not wait for the state.
      sink.onConnected(session);
      const error = await session.ended;
      gapBeganAtMs = session.provedAtMs();
      this.#session = null;
      this.#missing = error.message;
      const over = sink.onDisconnected();
      if (this.#stop.signal.aborted) return over;
      events.subscriptionLost(address, error);
    }
  }

  /** Opens a session, and retries until that succeeds; null once stopped. */
  async #open({ onSubscribing, onEvent }: EventSink, mayFail: boolean): Promise<Session | null> {
    const { locator, events, chance } = this.#parts;
    const { signal } = this.#stop;
    for (let waitMs = RETRY_FIRST_MS; !signal.aborted; ) {
      try {
        const settings = await locator.locate();
        const parts = { ...this.#parts, settings, onSubscribing, onEvent };
        const session = await openSession(parts, signal);
        if (!signal.aborted) return session;
        session.close();
      } catch (thrown) {
        if (signal.aborted) return null;
        const error = thrown as RelayError;
        if (mayFail && !error.retryable) throw error;
        this.#missing = error.message;
        const retryInMs = Math.round(waitMs * (1 - RETRY_JITTER * chance.fraction()));
        events.redisUnavailable(addressOf(locator.address), error, retryInMs);
        const hasMoved = await this.#sleep(retryInMs);
        waitMs = hasMoved ? RETRY_FIRST_MS : Math.min(waitMs * 2, RETRY_MS_MAX);
      }
    }
    return null;
  }

  /** Resolves at once, with true, when the primary is elsewhere. */
  async #sleep(ms: number): Promise<boolean> {
    const { locator, clock } = this.#parts;
    const { signal } = this.#stop;
    const before = locator.address;
    const moved = new Condition();
    const stopFollowing = locator.onMoved(() => moved.notifyAll());
    await moved.wait(clock, ms, signal);
    stopFollowing();
    return isElsewhere(locator, before);
  }
}

function canaryCheck(proof: Proof): ListenerCheck {
  const name = 'canary';
  switch (proof.kind) {
    case 'proved':
      return { name, problem: null, ...(proof.note === null ? {} : { note: proof.note }) };
    case 'forbidden':
      return { name, problem: null, note: `notifications are not verified: ${proof.reason}` };
    case 'evicted':
      return { name, problem: null, note: `notifications work, but ${proof.reason}` };
    case 'failing':
      return { name, problem: proof.reason };
  }
}
