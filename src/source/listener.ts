/** Redis as the place where keys expire: one session after another, with a growing wait between. */
import type { Chance, Clock } from '../lib/clock.js';
import type { RelayError } from '../model/errors.js';
import type { KeyEvent, RedisSettings } from '../model/vocabulary.js';
import { addressOf } from '../redis/client.js';
import type { ServerClock } from '../redis/server-clock.js';
import type { SourceEvents } from '../telemetry/source-events.js';
import type { Proof } from './prover.js';
import { openSession, type Session, type SessionParts } from './session.js';

const RETRY_FIRST_MS = 250;
const RETRY_MS_MAX = 5_000;

/** The share of each wait that chance may take away, so that replicas do not come back as one. */
const RETRY_JITTER = 0.3;

export interface ListenerParts {
  readonly settings: RedisSettings;
  /** What every key of the relay's own begins with; none of them is an event. */
  readonly ownPrefix: string;
  /** The key that lies in every watched database as long as nobody empties it. */
  readonly markerKey: string;
  /** The key that says which server this is. */
  readonly serverKey: string;
  /** Set by each session to the clock of the server that it found. */
  readonly serverClock: ServerClock;
  readonly events: SourceEvents;
  readonly clock: Clock;
  readonly chance: Chance;
}

/** What is done with key events. */
export interface EventSink {
  /** Called for each event, in the order in which Redis publishes them; must not throw or wait. */
  readonly onEvent: (event: KeyEvent) => void;
  /** The relay listens, from now on. */
  readonly onConnected: (session: Session) => void;
  /**
   * The relay listens no longer: a gap begins, or the end. Resolves when all events before it have been taken care of;
   * only the end is waited for.
   */
  readonly onDisconnected: () => Promise<void>;
}

/** A condition of being ready. */
export interface ListenerCheck {
  readonly name: 'subscribed' | 'canary';
  /** What is wrong; null when nothing is. */
  readonly problem: string | null;
  /** What to know when nothing is wrong. */
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
    this.#missing = `Redis at ${addressOf(parts.settings)} has not answered yet`;
  }

  /**
   * Resolves when the relay listens, however long that takes, or when it is stopped. Rejects with
   * what only the operator can mend; once it has listened, such a thing is waited out as well.
   */
  async start(sink: EventSink): Promise<void> {
    const session = await this.#open(sink, true);
    if (session !== null) this.#loop = this.#listen(session, sink);
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
    const { settings, events, clock } = this.#parts;
    let gapBeganAtMs: number | null = null;
    for (
      let session: Session | null = first;
      session !== null;
      session = await this.#open(sink, false)
    ) {
      const gapMs = gapBeganAtMs === null ? null : clock.monotonicMs() - gapBeganAtMs;
      this.#session = session;
      events.listening(addressOf(settings), settings.databases, gapMs);
      // Not waited for, nor is what follows a gap: the state may be away, and the next session must not.
      sink.onConnected(session);
      const error = await session.ended;
      gapBeganAtMs = session.provedAtMs();
      this.#session = null;
      this.#missing = error.message;
      const over = sink.onDisconnected();
      if (this.#stop.signal.aborted) return over;
      events.gapBegan(addressOf(settings), error);
    }
  }

  /** Opens a session, waiting as often as it takes; null once stopped. */
  async #open(sink: EventSink, mayFail: boolean): Promise<Session | null> {
    const { settings, events, clock, chance } = this.#parts;
    const { signal } = this.#stop;
    for (let waitMs = RETRY_FIRST_MS; !signal.aborted; ) {
      try {
        const session = await openSession(this.#sessionParts(sink), signal);
        if (!signal.aborted) return session;
        session.close();
      } catch (thrown) {
        if (signal.aborted) return null;
        const error = thrown as RelayError;
        if (mayFail && !error.retryable) throw error;
        this.#missing = error.message;
        const retryInMs = Math.round(waitMs * (1 - RETRY_JITTER * chance.fraction()));
        events.redisWaiting(addressOf(settings), error, retryInMs);
        await clock.sleep(retryInMs, signal);
        waitMs = Math.min(waitMs * 2, RETRY_MS_MAX);
      }
    }
    return null;
  }

  #sessionParts({ onEvent }: EventSink): SessionParts {
    const { settings, ownPrefix, markerKey, serverKey, serverClock, events, clock, chance } =
      this.#parts;
    return {
      settings,
      ownPrefix,
      markerKey,
      serverKey,
      serverClock,
      events,
      clock,
      chance,
      onEvent,
    };
  }
}

function canaryCheck(proof: Proof): ListenerCheck {
  const name = 'canary';
  switch (proof.kind) {
    case 'proved':
      return { name, problem: null, ...(proof.note === null ? {} : { note: proof.note }) };
    case 'forbidden':
      return { name, problem: null, note: `not proved: ${proof.reason}` };
    case 'evicted':
      return { name, problem: null, note: `notifications arrive, but ${proof.reason}` };
    case 'failing':
      return { name, problem: proof.reason };
  }
}
