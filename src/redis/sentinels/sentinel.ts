/** The connections to one sentinel: asks it for the primary again and again, and at each notification of a failover. */
import type { Redis } from 'ioredis';
import type { Clock } from '../../lib/clock.js';
import { Condition } from '../../lib/condition.js';
import { NotRedisError, RelayError } from '../../model/errors.js';
import type { HostPort, LoginSection, SentinelSettings } from '../../model/redis-login.js';
import { addressOf, redisError } from '../client.js';
import { connect } from '../connect.js';
import { isReply, isUnknownCommand, unlessRefused } from '../refusal.js';
import type { Answer, OtherSentinel, Voter } from './vote.js';

/** How often a sentinel is asked, and how often a lost connection is opened again. */
const ASK_EVERY_MS = 1_000;

/** A sentinel that takes longer for a reply hangs: the others decide. */
const ANSWER_MS_MAX = 1_000;

const SWITCHED = '+switch-master';

const PENDING: Answer = { kind: 'pending' };

export interface SentinelParts {
  readonly node: HostPort;
  readonly isConfigured: boolean;
  readonly settings: SentinelSettings;
  readonly section: LoginSection;
  readonly clock: Clock;
  readonly onStale: (problem: string) => void;
  /** Called after each answer and each failure. */
  readonly onAnswer: () => void;
  /** Called when the sentinel reports a failover: all sentinels are to be asked at once. */
  readonly onSwitched: () => void;
}

export class Sentinel implements Voter {
  readonly address: string;
  readonly isConfigured: boolean;
  readonly #parts: SentinelParts;
  readonly #closing = new AbortController();
  /** Notified when it is to be asked now. */
  readonly #asked = new Condition();
  #answer: Answer = PENDING;
  /** When the question for the last answer was sent, or when it failed, by the monotonic clock. */
  #askedAtMs = Number.NEGATIVE_INFINITY;

  constructor(parts: SentinelParts) {
    this.#parts = parts;
    this.address = addressOf(parts.node);
    this.isConfigured = parts.isConfigured;
    void this.#run();
  }

  get answer(): Answer {
    return this.#answer;
  }

  /** As a voter in a count that began at this time: earlier answers do not count. */
  since(ms: number): Voter {
    const { address, isConfigured } = this;
    const answer = this.#askedAtMs >= ms ? this.#answer : PENDING;
    return { address, isConfigured, answer };
  }

  ask(): void {
    this.#asked.notifyAll();
  }

  close(): void {
    this.#closing.abort();
  }

  async #run(): Promise<void> {
    const { clock } = this.#parts;
    const { signal } = this.#closing;
    while (!signal.aborted) {
      const error = await this.#connection(signal);
      if (signal.aborted) return;
      this.#record({ kind: 'failed', error }, clock.monotonicMs());
      await this.#asked.wait(clock, ASK_EVERY_MS, signal);
    }
  }

  /** Asks on new connections until one of them ends; resolves with the reason. Never rejects. */
  async #connection(signal: AbortSignal): Promise<RelayError> {
    const { settings, section, node, onStale, onSwitched, clock } = this.#parts;
    const { username, password, tls, files } = settings;
    const login = { username, password, tls, files };
    const address = { ...node, path: null, sentinel: null, cluster: null, ...login };
    const over = new AbortController();
    const close = () => over.abort();
    signal.addEventListener('abort', close, { once: true });
    const open = (role: string) =>
      connect(address, role, over.signal, section, onStale, ANSWER_MS_MAX);
    try {
      const commands = await open('sentinel');
      const subscriber = await open('sentinel-subscriber');
      subscriber.redis.on('message', onSwitched);
      // Without the permission, the regular questions are sufficient.
      await unlessRefused(subscriber.redis.subscribe(SWITCHED));
      const id = await idOf(commands.redis, this.address);
      const ended = Promise.race([commands.ended, subscriber.ended]).finally(close);
      while (!over.signal.aborted) {
        const { version } = this.#asked;
        const askedAtMs = clock.monotonicMs();
        const asking = ask(commands.redis, settings.master, id);
        const [answer] = await Promise.all([asking, subscriber.redis.ping()]);
        this.#record(answer, askedAtMs);
        if (this.#asked.version === version) {
          await this.#asked.wait(clock, ASK_EVERY_MS, over.signal);
        }
      }
      return await ended;
    } catch (error) {
      if (isUnknownCommand(error)) {
        return new NotRedisError(
          `the server at ${this.address} is not a Sentinel. Set ${section}.nodes to the addresses of the ` +
            'sentinels, whose port is usually 26379',
        );
      }
      return error instanceof RelayError ? error : redisError(error, address, section);
    } finally {
      signal.removeEventListener('abort', close);
      close();
    }
  }

  #record(answer: Answer, askedAtMs: number): void {
    this.#answer = answer;
    this.#askedAtMs = askedAtMs;
    this.#parts.onAnswer();
  }
}

/** Its id, new with each new configuration file; its address if it does not show the id. */
async function idOf(redis: Redis, address: string): Promise<string> {
  return String((await unlessRefused(redis.call('SENTINEL', 'MYID'))) ?? address);
}

async function ask(redis: Redis, master: string, id: string): Promise<Answer> {
  const [named, others, properties] = await Promise.all([
    redis.call('SENTINEL', 'GET-MASTER-ADDR-BY-NAME', master) as Promise<[string, string] | null>,
    othersOf(redis, master),
    orNull(redis.call('SENTINEL', 'MASTER', master) as Promise<string[]>),
  ]);
  if (named === null) return { kind: 'unknown', id, masters: await mastersOf(redis) };
  const [host, port] = named;
  const quorum = fieldOf(properties ?? [], 'quorum');
  return {
    kind: 'named',
    id,
    primary: { host, port: Number(port) },
    others,
    quorum: quorum === null ? null : Number(quorum),
  };
}

/** The names of all primaries that the sentinel monitors; empty if it does not show them. */
export async function mastersOf(redis: Redis): Promise<string[]> {
  const masters = await orNull(redis.call('SENTINEL', 'MASTERS') as Promise<string[][]>);
  return (masters ?? []).flatMap((fields) => fieldOf(fields, 'name') ?? []);
}

/** The other sentinels of a primary; empty if the sentinel does not show them. */
export async function othersOf(redis: Redis, master: string): Promise<OtherSentinel[]> {
  const others = await orNull(redis.call('SENTINEL', 'SENTINELS', master) as Promise<string[][]>);
  return (others ?? []).map(otherOf);
}

/** Null if the sentinel replies with an error; rejects with the connection. */
async function orNull<Reply>(reply: Promise<Reply>): Promise<Reply | null> {
  try {
    return await reply;
  } catch (error) {
    if (isReply(error)) return null;
    throw error;
  }
}

function otherOf(fields: readonly string[]): OtherSentinel {
  const [host, port] = [fieldOf(fields, 'ip') ?? '', Number(fieldOf(fields, 'port'))];
  return { id: fieldOf(fields, 'runid') || addressOf({ host, port }), host, port };
}

function fieldOf(fields: readonly string[], name: string): string | null {
  const at = fields.findIndex((word, index) => index % 2 === 0 && word === name);
  return at < 0 ? null : (fields[at + 1] ?? null);
}
