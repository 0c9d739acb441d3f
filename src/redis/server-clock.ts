/**
 * The clock of the Redis that holds the keys. Deadlines follow this clock; the relay's own may be wrong by any
 * amount. The relay runs TIME now and then, and uses the reply with the shortest round trip.
 */
import type { Redis } from 'ioredis';
import type { Clock } from '../lib/clock.js';
import { unlessRefused } from './refusal.js';

/** Clocks drift by less than a millisecond in so long. */
export const ASK_EVERY_MS = 5_000;

/** Of so many answers the quickest counts. */
const ANSWERS = 4;

/** More than a clock drifts between answers: somebody has set it. */
const DRIFT_MS = 10;

/** A step that is worth telling an operator. */
const SET_MS = 1_000;

interface Answer {
  /** The server's clock minus our monotonic one, in milliseconds. */
  readonly offsetMs: number;
  /** From question to answer: the offset is wrong by half of it at most. */
  readonly underWayMs: number;
  /** By our monotonic clock. */
  readonly askedAtMs: number;
}

/** How the clock was known before it was found to have been set. */
interface Former {
  readonly offsetMs: number;
  /** Between these two it was set, by the monotonic clock: at the second one it was found. */
  readonly agreedAtMs: number;
  readonly foundAtMs: number;
}

/** The server's answer to TIME: seconds, and the microseconds beyond them. */
type TimeReply = readonly (string | number | Buffer)[];

export class ServerClock {
  readonly #clock: Clock;
  readonly #onSet: (stepMs: number) => void;
  #answers: readonly Answer[] = [];
  #former: Former | null = null;
  /** When the last answer was asked for. */
  #agreedAtMs = 0;
  /** The connection of the present session; null before the first. */
  #redis: Pick<Redis, 'time'> | null = null;

  /** `onSet` is called with the milliseconds by which somebody has set the clock, `SET_MS` or more. */
  constructor(clock: Clock, onSet: (stepMs: number) => void = () => undefined) {
    this.#clock = clock;
    this.#onSet = onSet;
  }

  /** Asks the server; rejects when the connection does. */
  async ask(redis: Pick<Redis, 'time'>): Promise<void> {
    const answer = await this.#ask(redis);
    if (this.#isOutOfDate(answer)) return;
    const others = this.#isSet(answer) ? [] : this.#answers;
    this.#answers = [answer, ...others.filter((other) => agree(answer, other))].slice(0, ANSWERS);
  }

  /** Asks the server of the present session. Resolves when its time is known, or cannot be. Never rejects. */
  async refresh(): Promise<void> {
    if (this.#redis !== null) await this.ask(this.#redis).catch(() => undefined);
  }

  /**
   * A session begins, perhaps with another server. Until that has answered, the one before is believed, whose clock is
   * nearer to it than ours need be. Resolves with how many milliseconds this machine's clock is ahead of the server's;
   * null when the server does not allow TIME: its clock is then taken to be this machine's.
   */
  async begin(redis: Pick<Redis, 'time'>): Promise<number | null> {
    this.#redis = redis;
    const answer = await unlessRefused(this.#ask(redis));
    if (answer === null) {
      this.#answers = [];
      this.#former = null;
      return null;
    }
    this.#isSet(answer);
    this.#answers = [answer];
    return this.#clock.nowMs() - this.nowMs();
  }

  /**
   * For a TIME among other commands, called before they are sent: resolves its reply to the server's
   * milliseconds. The reply may have taken long: it shows only whether the clock was set.
   */
  question(): (reply: TimeReply) => number {
    const askedAtMs = this.#clock.monotonicMs();
    return (reply) => {
      const answer = this.#answered(reply, askedAtMs);
      if (!this.#isOutOfDate(answer) && this.#isSet(answer)) this.#answers = [answer];
      return millisecondsOf(reply);
    };
  }

  async #ask(redis: Pick<Redis, 'time'>): Promise<Answer> {
    const askedAtMs = this.#clock.monotonicMs();
    return this.#answered(await redis.time(), askedAtMs);
  }

  #answered(reply: TimeReply, askedAtMs: number): Answer {
    const answeredAtMs = this.#clock.monotonicMs();
    return {
      offsetMs: millisecondsOf(reply) - (askedAtMs + answeredAtMs) / 2,
      underWayMs: answeredAtMs - askedAtMs,
      askedAtMs,
    };
  }

  /** Asked before the clock was found to be set, on another connection than what found it. */
  #isOutOfDate({ askedAtMs }: Answer): boolean {
    return this.#former !== null && askedAtMs < this.#former.foundAtMs;
  }

  /** Whether somebody has set the clock since the last answer. */
  #isSet(answer: Answer): boolean {
    const known = this.#best();
    const agreedAtMs = this.#agreedAtMs;
    this.#agreedAtMs = answer.askedAtMs;
    if (known === undefined || agree(answer, known)) return false;
    const foundAtMs = this.#clock.monotonicMs();
    this.#former = { offsetMs: known.offsetMs, agreedAtMs, foundAtMs };
    const stepMs = Math.round(answer.offsetMs - known.offsetMs);
    if (Math.abs(stepMs) >= SET_MS) this.#onSet(stepMs);
    return true;
  }

  /** The server's time in milliseconds since the Unix epoch; ours, before it has ever answered. */
  nowMs(): number {
    const best = this.#best();
    if (best === undefined) return this.#clock.nowMs();
    return this.#clock.monotonicMs() + best.offsetMs;
  }

  /**
   * The moment at which `nowMs` returned `readMs`, by the clock as it is known now: another time where
   * somebody had set the clock before that moment, and this was found out after it.
   */
  corrected(readMs: number): number {
    return this.#restated(readMs, this.#former?.foundAtMs ?? 0);
  }

  /** The same for a time that the server itself has written: it knew at once that it was set. */
  correctedWritten(writtenMs: number): number {
    return this.#restated(writtenMs, this.#former?.agreedAtMs ?? 0);
  }

  /** Converts a time to the clock's present setting; a time read since `fromMs` needs no change. */
  #restated(toldMs: number, fromMs: number): number {
    const best = this.#best();
    const former = this.#former;
    if (best === undefined || former === null) return toldMs;
    const isOfNow = toldMs - best.offsetMs >= fromMs && toldMs <= this.nowMs();
    const toldAtMs = toldMs - former.offsetMs;
    return isOfNow || toldAtMs > former.foundAtMs ? toldMs : toldAtMs + best.offsetMs;
  }

  #best(): Answer | undefined {
    let best = this.#answers[0];
    for (const answer of this.#answers) {
      if (best !== undefined && answer.underWayMs < best.underWayMs) best = answer;
    }
    return best;
  }
}

function millisecondsOf(reply: TimeReply): number {
  const [seconds = 0, micros = 0] = reply.map(Number);
  return seconds * 1_000 + micros / 1_000;
}

/** Whether both can be true of one clock that nobody has set. */
function agree(one: Answer, other: Answer): boolean {
  const errorMs = (one.underWayMs + other.underWayMs) / 2;
  return Math.abs(one.offsetMs - other.offsetMs) <= errorMs + DRIFT_MS;
}

/** The clocks of Redis and of the relay are known to one another only so well. */
export const CLOCK_SLACK_MS = 50;
