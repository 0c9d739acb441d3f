/**
 * The properties of a Redis that the relay's guarantees depend on, for `run`, at each connection, and for
 * `doctor`. Only reads. A property that the server does not show stays unknown.
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
  /** As the server names itself, such as `redis`. */
  readonly software: string;
  /** Such as `7.0.15`; null when it does not say. */
  readonly version: string | null;
  readonly isCluster: boolean;
  /** It holds no keys, and watches servers that do. */
  readonly isSentinel: boolean;
  /** How many primaries share the keys of its cluster; null when that is not shown, or there is none. */
  readonly primaries: number | null;
  /** Null when it does not say. */
  readonly role: Role | null;
  /** host:port of a replica's primary; null when there is none, or it is not shown. */
  readonly primary: string | null;
  /** Of this process of the server: another one after a restart. Null when it does not say. */
  readonly runId: string | null;
  /** Null when INFO may not be asked. */
  readonly info: Info | null;
  /** What CONFIG GET shows of the settings that matter. */
  readonly settings: ReadonlyMap<Setting, string>;
}

type Question = 'INFO' | 'HELLO' | 'ROLE' | 'CLUSTER' | 'CONFIG';

/** Reads the properties of one server, repeatedly. */
export class PropertyReader {
  readonly #redis: Redis;
  /** Not asked again: an ACL would log each refusal. */
  readonly #refused = new Set<Question>();

  constructor(redis: Redis) {
    this.#redis = redis;
  }

  /** Rejects with any error but a refused question. */
  async read(): Promise<ServerProperties> {
    const redis = this.#redis;
    // Together: a server may be far away.
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
    // Where the first is refused, the others are not asked for.
    const first = await read(NOTIFICATIONS);
    const others = await Promise.all(SETTINGS.map(read));
    return new Map([...first, ...others.flat()]);
  }

  /** Null when the server does not let us ask. */
  async #ask<Reply>(question: Question, ask: () => Promise<Reply>): Promise<Reply | null> {
    if (this.#refused.has(question)) return null;
    const reply = await unlessRefused(ask());
    if (reply === null) this.#refused.add(question);
    return reply;
  }
}

/** Without arguments HELLO changes nothing, and no ACL forbids it; some proxies do not know it. */
function helloOf(reply: unknown): ReadonlyMap<string, string> {
  const words = ((reply ?? []) as unknown[]).map(String);
  return new Map(words.flatMap((word, at) => (at % 2 === 0 ? [[word, words[at + 1] ?? '']] : [])));
}

/** Where there is no ROLE, as in Redis Cloud and Redis Software, INFO and HELLO show the same. Pure. */
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
