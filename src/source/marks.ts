/**
 * Marks in the sequence of events: messages that the lease holder publishes in the watched Redis. Redis delivers the
 * messages of PUBLISH and its key events in one order, so that every replica receives each mark at the same place among
 * the key events of all databases.
 */
import type { Redis } from 'ioredis';
import { isRefusal } from '../redis/refusal.js';

/** Characters of a server's run_id that a mark holds: enough to distinguish it from the server before it. */
const RUN_CHARS = 8;

/** The start of a run_id (empty: hidden), the generation of the lease, and a number. */
const MARK = /^[0-9a-f]{0,8}\.\d{1,16}\.\d{1,16}$/;

export interface MarksParts {
  readonly redis: Redis;
  /** The channel on which marks are published; null: no other replica needs any. */
  readonly channel: string | null;
  /**
   * The server's; null if the server hides it. The nodes of a cluster deliver each other's messages, which do not
   * belong to their own sequences: the run_id distinguishes them.
   */
  readonly runId: string | null;
  /** Called once, if the server does not allow marks. */
  readonly onRefused: (error: Error) => void;
}

export class Marks {
  readonly channel: string | null;
  readonly #parts: MarksParts;
  readonly #run: string;
  #isRefused = false;

  constructor(parts: MarksParts) {
    this.channel = parts.channel;
    this.#parts = parts;
    this.#run = `${(parts.runId ?? '').slice(0, RUN_CHARS)}.`;
  }

  /** The mark in a message; null if the message is not a mark of this server. Every client can publish anything. */
  of(message: Buffer): string | null {
    const mark = message.toString();
    return MARK.test(mark) && this.isOfServer(mark) ? mark : null;
  }

  /** Whether a mark, or a name that refers to one, belongs to this server's sequence. */
  isOfServer(name: string): boolean {
    return name.startsWith(this.#run);
  }

  /** Subscribes to marks. If that is not allowed, there are none: no replica can use a mark that it does not receive. */
  async subscribe(subscriber: Redis): Promise<void> {
    const { channel } = this;
    if (channel !== null) await this.#unlessRefused(() => subscriber.subscribe(channel));
  }

  /** Publishes the mark of this number. Resolves with the mark; null: there are none. Rejects if the connection fails. */
  async publish(number: string): Promise<string | null> {
    const { channel } = this;
    if (channel === null) return null;
    const mark = `${this.#run}${number}`;
    const receivers = await this.#unlessRefused(() => this.#parts.redis.publish(channel, mark));
    return receivers === null ? null : mark;
  }

  async #unlessRefused<Reply>(send: () => Promise<Reply>): Promise<Reply | null> {
    try {
      return await send();
    } catch (error) {
      if (!isRefusal(error)) throw error;
      if (!this.#isRefused) this.#parts.onRefused(error as Error);
      this.#isRefused = true;
      return null;
    }
  }
}
