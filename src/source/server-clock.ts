/**
 * The clock of the Redis that holds the keys: deadlines are by it, and the relay's own may be wrong
 * by any amount. It is asked now and then, and the answer that was under way for the shortest time
 * since is believed.
 */
import type { Redis } from 'ioredis';
import type { Clock } from '../clock.js';

/** Clocks drift by less than a millisecond in so long. */
export const ASK_EVERY_MS = 5_000;

/** Of so many answers the quickest counts. */
const ANSWERS = 4;

/** More than a clock drifts between answers: somebody has set it. */
const DRIFT_MS = 10;

interface Answer {
  /** The server's clock minus our monotonic one, in milliseconds. */
  readonly offsetMs: number;
  /** From question to answer: the offset is wrong by half of it at most. */
  readonly underWayMs: number;
}

export class ServerClock {
  readonly #clock: Clock;
  #answers: readonly Answer[] = [];

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Asks the server; rejects when the connection does. */
  async ask(redis: Pick<Redis, 'time'>): Promise<void> {
    const answer = await this.#ask(redis);
    const others = this.#answers.filter((other) => agree(answer, other));
    this.#answers = [answer, ...others].slice(0, ANSWERS);
  }

  /**
   * The same on a new connection: another server may be there now. Until it has answered, the one
   * before is believed, whose clock is nearer to it than ours need be.
   */
  async askAnew(redis: Pick<Redis, 'time'>): Promise<void> {
    this.#answers = [await this.#ask(redis)];
  }

  async #ask(redis: Pick<Redis, 'time'>): Promise<Answer> {
    const askedAtMs = this.#clock.monotonicMs();
    const [seconds = 0, micros = 0] = (await redis.time()).map(Number);
    const answeredAtMs = this.#clock.monotonicMs();
    const serverMs = seconds * 1_000 + micros / 1_000;
    return {
      offsetMs: serverMs - (askedAtMs + answeredAtMs) / 2,
      underWayMs: answeredAtMs - askedAtMs,
    };
  }

  /** Forgets what was answered: the server that is there now does not tell. */
  forget(): void {
    this.#answers = [];
  }

  /** The server's time in milliseconds since the Unix epoch; ours, before it has ever answered. */
  nowMs(): number {
    const [first, ...rest] = this.#answers;
    if (first === undefined) return this.#clock.nowMs();
    const best = rest.reduce(
      (one, other) => (other.underWayMs < one.underWayMs ? other : one),
      first,
    );
    return this.#clock.monotonicMs() + best.offsetMs;
  }
}

/** Whether both can be true of one clock that nobody has set. */
function agree(one: Answer, other: Answer): boolean {
  const errorMs = (one.underWayMs + other.underWayMs) / 2;
  return Math.abs(one.offsetMs - other.offsetMs) <= errorMs + DRIFT_MS;
}
