/** Redis as the place where keys expire: one session after another, with a growing wait between. */
import type { RelayError } from '../errors.js';
import { addressOf } from '../redis-client.js';
import type { Expiration, Notice } from '../vocabulary.js';
import type { Proof } from './prover.js';
import { openSession, type Session, type SessionParts } from './session.js';

const RETRY_FIRST_MS = 250;
const RETRY_MS_MAX = 5_000;

/** The share of each wait that chance may take away, so that replicas do not come back as one. */
const RETRY_JITTER = 0.3;

export interface SourceParts extends Omit<SessionParts, 'onExpired'> {
  /** Called for each expiration; must not throw or wait. */
  readonly onExpired: (expiration: Expiration) => void;
  /** Called for each other notice, in the same order; must not throw or wait. */
  readonly onNotice: (notice: Notice) => void;
  /** The relay listens, from now on. */
  readonly onListening: (session: Session) => void;
  /**
   * It listens no longer: a gap begins, or the end. Resolves when all that was heard has been taken
   * care of; only the end is waited for.
   */
  readonly onDeaf: () => Promise<void>;
}

/** A condition of being ready. */
export interface SourceCheck {
  readonly name: 'subscribed' | 'canary';
  /** What is wrong; null when nothing is. */
  readonly problem: string | null;
  /** What to know when nothing is wrong. */
  readonly note?: string;
}

export class Source {
  readonly #parts: SourceParts;
  readonly #stop = new AbortController();
  #session: Session | null = null;
  /** Why there is no session. */
  #missing: string;
  #loop: Promise<void> = Promise.resolve();

  constructor(parts: SourceParts) {
    this.#parts = parts;
    this.#missing = `Redis at ${addressOf(parts.settings)} has not answered yet`;
  }

  /**
   * Resolves when the relay listens, however long that takes, or when it is stopped. Rejects with
   * what only the operator can mend; once it has listened, such a thing is waited out as well.
   */
  async start(): Promise<void> {
    const session = await this.#open(true);
    if (session !== null) this.#loop = this.#goOn(session);
  }

  checks(): readonly SourceCheck[] {
    if (this.#session === null) {
      const problem = this.#stop.signal.aborted ? 'shutting down' : this.#missing;
      return [
        { name: 'subscribed', problem },
        { name: 'canary', problem },
      ];
    }
    return [{ name: 'subscribed', problem: null }, canaryCheck(this.#session.proof())];
  }

  /** What is known of the server's clock is up to date then, as far as the server tells. */
  async askTime(): Promise<void> {
    await this.#session?.askTime().catch(() => undefined);
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#loop;
  }

  async #goOn(first: Session): Promise<void> {
    const { settings, events, clock, onListening, onDeaf } = this.#parts;
    let gapBeganAtMs: number | null = null;
    for (let session: Session | null = first; session !== null; session = await this.#open(false)) {
      const gapMs = gapBeganAtMs === null ? null : clock.monotonicMs() - gapBeganAtMs;
      this.#session = session;
      events.listening(addressOf(settings), settings.databases, gapMs);
      // Not waited for, nor is what follows a gap: the state may be away, and the next session must not.
      onListening(session);
      const error = await session.ended;
      gapBeganAtMs = session.provedAtMs();
      this.#session = null;
      this.#missing = error.message;
      const over = onDeaf();
      if (this.#stop.signal.aborted) return over;
      events.gapBegan(addressOf(settings), error);
    }
  }

  /** Opens a session, waiting as often as it takes; null once stopped. */
  async #open(mayFail: boolean): Promise<Session | null> {
    const { settings, events, clock, chance } = this.#parts;
    const { signal } = this.#stop;
    for (let waitMs = RETRY_FIRST_MS; !signal.aborted; ) {
      try {
        const session = await openSession(this.#sessionParts(), signal);
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

  #sessionParts(): SessionParts {
    const { onExpired, ...shared } = this.#parts;
    return {
      ...shared,
      onExpired: (heard) => onExpired({ ...heard, expiredAtMs: null, detectedBy: 'notification' }),
    };
  }
}

function canaryCheck(proof: Proof): SourceCheck {
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
