/**
 * The properties of a Redis that the relay's guarantees depend on; read by `run` at each connection, and by
 * `doctor`. Read-only. A property that the server does not show stays unknown.
 */
import type { Redis } from 'ioredis';
import { unlessRefused } from '../redis/refusal.js';
import { type Info, parseInfo } from './info.js';

export const NOTIFICATIONS = 'notify-keyspace-events';

const SETTINGS = [
  'active-expire-effort',
  'save',
  'maxmemory',
  'maxmemory-policy',
  'appendonly',
  'timeout',
  'client-output-buffer-limit',
] as const;

export type Setting = (typeof SETTINGS)[number] | typeof NOTIFICATIONS;

export type Role = 'primary' | 'replica';

export interface ServerProperties {
  /** The server's own name for its software, such as `redis`. */
  readonly software: string;
  /** For instance `7.0.15`; null when unknown. */
  readonly version: string | null;
  readonly isCluster: boolean;
  /** A Sentinel holds no keys, and monitors other servers. */
  readonly isSentinel: boolean;
  /** The number of primaries in the cluster; null when unknown, or without a cluster. */
  readonly primaries: number | null;
  /** Null when unknown. */
  readonly role: Role | null;
  /** host:port of a replica's primary; null when there is none or it is unknown. */
  readonly primary: string | null;
  /** Identifies the server process: changes at a restart. Null when unknown. */
  readonly runId: string | null;
  /** Null when INFO is not permitted. */
  readonly info: Info | null;
  /** The relevant settings that CONFIG GET returns. */
  readonly settings: ReadonlyMap<Setting, string>;
}

type Question = 'INFO' | 'HELLO' | 'ROLE' | 'CLUSTER' | 'CONFIG';

/** Reads the properties of one server, repeatedly. */
export class PropertyReader {
  readonly #redis: Redis;
  /** Queries that are not repeated: an ACL would log each refusal. */
  readonly #refused = new Set<Question>();

  constructor(redis: Redis) {
    this.#redis = redis;
  }

  /** Rejects with any error but a refused query. */
  async read(): Promise<ServerProperties> {
    const redis = this.#redis;
    // Pipelined: the server may be distant.
    const [text, helloReply, role, settings] = await Promise.all([
      this.#ask('INFO', () => redis.info()),
      this.#ask('HELLO', () => redis.call('HELLO')),
      this.#ask('ROLE', () => redis.role()),
      this.#settings(),
    ]);
    const info = text === null ? null : parseInfo(text);
    const hello = helloOf(helloReply);
    const mode = hello.get('mode') ?? info?.get('redis_mode');
    const isCluster = mode === 'cluster';
    return {
      software: hello.get('server') ?? 'redis',
      version: hello.get('version') ?? info?.get('redis_version') ?? null,
      isCluster,
      isSentinel: mode === 'sentinel',
      primaries: isCluster ? await this.#primaries() : null,
      ...roleOf(role as unknown[] | null, hello, info),
      runId: info?.get('run_id') ?? null,
      info,
      settings,
    };
  }

  async #primaries(): Promise<number | null> {
    const cluster = await this.#ask('CLUSTER', () => this.#redis.cluster('INFO'));
    const [, size] = /^cluster_size:(\d+)/m.exec(String(cluster)) ?? [];
    return size === undefined ? null : Number(size);
  }

  async #settings(): Promise<ReadonlyMap<Setting, string>> {
    const read = async (name: Setting): Promise<[Setting, string][]> => {
      const reply = (await this.#ask('CONFIG', () => this.#redis.config('GET', name))) as
        | string[]
        | null;
      return reply?.[1] === undefined ? [] : [[name, reply[1]]];
    };
    // After a refusal of the first setting, the others are not requested.
    const first = await read(NOTIFICATIONS);
    const others = await Promise.all(SETTINGS.map(read));
    return new Map([...first, ...others.flat()]);
  }

  /** Null when the server refuses the query. */
  async #ask<Reply>(question: Question, ask: () => Promise<Reply>): Promise<Reply | null> {
    if (this.#refused.has(question)) return null;
    const reply = await unlessRefused(ask());
    if (reply === null) this.#refused.add(question);
    return reply;
  }
}

/** HELLO without arguments has no effect, and no ACL forbids it; some proxies do not support it. */
function helloOf(reply: unknown): ReadonlyMap<string, string> {
  const words = ((reply ?? []) as unknown[]).map(String);
  return new Map(words.flatMap((word, at) => (at % 2 === 0 ? [[word, words[at + 1] ?? '']] : [])));
}

/** Redis Cloud and Redis Software lack ROLE: INFO and HELLO show the role. Pure. */
export function roleOf(
  reply: readonly unknown[] | null,
  hello: ReadonlyMap<string, string>,
  info: Info | null,
): Pick<ServerProperties, 'role' | 'primary'> {
  const [kind, host, port] = reply ?? [];
  const word = String(kind ?? info?.get('role') ?? hello.get('role') ?? '');
  const role = word === 'master' ? 'primary' : /^(slave|replica)$/.test(word) ? 'replica' : null;
  if (role !== 'replica') return { role, primary: null };
  const [at, atPort] = [host ?? info?.get('master_host'), port ?? info?.get('master_port')];
  return { role, primary: at && atPort ? `${at}:${atPort}` : null };
}
