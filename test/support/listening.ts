/** A real Redis, with one connection for commands and one that receives expirations. */
import { Redis } from 'ioredis';
import pino from 'pino';
import { startRedis } from '../../scripts/lib/redis-server.mjs';
import { systemClock } from '../../src/lib/clock.js';
import { Canary } from '../../src/source/canary.js';
import { Prover } from '../../src/source/prover.js';
import { Metrics } from '../../src/telemetry/metrics.js';
import { SourceEvents } from '../../src/telemetry/source-events.js';

export class Listening implements AsyncDisposable {
  readonly canary: Canary;
  readonly #connections: Redis[];
  readonly #close: () => Promise<void>;

  private constructor(
    /** The connection of another client. */
    readonly other: Redis,
    commands: Redis,
    readonly subscriber: Redis,
    close: () => Promise<void>,
  ) {
    this.#connections = [other, commands, subscriber];
    this.#close = close;
    this.canary = new Canary(commands, systemClock, () => '{expiry-relay}:', 'token');
  }

  /** Receives the notifications of databases 0 and 1. */
  static async start(...args: readonly string[]): Promise<Listening> {
    const server = await startRedis({ args: ['--notify-keyspace-events', 'AE', ...args] });
    const connect = () => new Redis(server.url, { protocol: 2 });
    const listening = new Listening(connect(), connect(), connect(), () => server.stop());
    const { subscriber, canary } = listening;
    subscriber.on('messageBuffer', (channel: Buffer, key: Buffer) => {
      const [, database, event] = /^__keyevent@(\d+)__:(\w+)$/.exec(channel.toString()) ?? [];
      const kind = event === 'expired' ? 'expired' : event === 'evicted' ? 'removed' : 'changed';
      canary.onNotification(Number(database), key, kind);
    });
    const names = ['expired', 'expire', 'evicted'].flatMap((event) => [
      `__keyevent@0__:${event}`,
      `__keyevent@1__:${event}`,
    ]);
    await subscriber.subscribe(...names);
    return listening;
  }

  /** Calls `react` each time a string key is written in database 0. */
  async onWrite(react: (key: string) => void): Promise<void> {
    this.subscriber.on('message', (channel: string, key: string) => {
      if (channel === '__keyevent@0__:set') react(key);
    });
    await this.subscriber.subscribe('__keyevent@0__:set');
  }

  /** Delays every command, like a slow one of another client. */
  async keepWaiting(forMs: number): Promise<void> {
    await this.other.call('CLIENT', 'PAUSE', forMs, 'ALL');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const redis of this.#connections) redis.disconnect();
    await this.#close();
  }
}

/** A prover of these databases, and what it logs. */
export function proverOf(
  { canary }: Listening,
  databases: readonly number[],
  setting: string | null = 'Exge',
) {
  const lines: { event: string; error?: string }[] = [];
  const log = pino({ level: 'info' }, { write: (line: string) => lines.push(JSON.parse(line)) });
  const metrics = new Metrics({ endpoints: new Map(), routes: [] });
  const prover = new Prover(
    canary,
    { setting, areChangesAllowed: true },
    {
      settings: {
        host: '127.0.0.1',
        port: 6379,
        path: null,
        sentinel: null,
        cluster: null,
        tls: null,
        username: null,
        password: null,
        files: null,
        databases,
        notifications: 'require',
      },
      events: new SourceEvents(log, metrics),
      clock: systemClock,
    },
  );
  return { prover, lines, events: () => lines.map(({ event }) => event) };
}
