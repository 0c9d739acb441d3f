/** Real sentinels: one alone, or three that watch a primary with its replicas. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { isIP } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { freePort } from '../../scripts/lib/free-port.mjs';
import { findRedisServer, type RunningRedis, startRedis } from '../../scripts/lib/redis-server.mjs';
import { tempFolder } from './cli.js';
import { eventually } from './eventually.js';
import { withRedis } from './with-redis.js';

/** When a primary that does not reply counts as down. */
export const DOWN_AFTER_MS = 1_000;

/** Its end also ends a process that a signal has stopped. */
export interface RunningSentinel extends AsyncDisposable {
  readonly port: number;
  readonly pid: number;
  readonly url: string;
  /** A connection to it. */
  readonly client: Redis;
}

export interface SentinelOptions {
  readonly quorum?: number;
  /** The host of the primary. With a name, the sentinel resolves names, and reports them. */
  readonly host?: string;
  /** More lines for its configuration. */
  readonly lines?: readonly string[];
  /** More arguments, such as those for TLS. */
  readonly args?: readonly string[];
  /** How the tests connect to it. */
  readonly login?: {
    readonly password?: string;
    readonly tls?: { readonly ca: string };
  };
}

export async function startSentinel(
  name: string,
  primaryPort: number,
  { quorum = 1, host = '127.0.0.1', lines = [], args = [], login = {} }: SentinelOptions = {},
): Promise<RunningSentinel> {
  const server = findRedisServer();
  if (server?.kind !== 'binary') throw new Error('expected a redis-server on this machine');
  const port = await freePort();
  const folder = await tempFolder({});
  const file = join(folder.path, 'sentinel.conf');
  const ports = login.tls === undefined ? [`port ${port}`] : ['port 0', `tls-port ${port}`];
  const own = [
    ...ports,
    'bind 127.0.0.1',
    `dir ${folder.path}`,
    ...(isIP(host) ? [] : ['sentinel resolve-hostnames yes', 'sentinel announce-hostnames yes']),
    `sentinel monitor ${name} ${host} ${primaryPort} ${quorum}`,
    `sentinel down-after-milliseconds ${name} ${DOWN_AFTER_MS}`,
    `sentinel failover-timeout ${name} 5000`,
  ];
  await writeFile(file, [...own, ...lines].join('\n'));
  const sentinel = spawn(server.path, [file, '--sentinel', ...args], { stdio: 'ignore' });
  const exited = once(sentinel, 'exit');
  // One that a test pauses does not respond.
  const client = new Redis(port, '127.0.0.1', { protocol: 2, commandTimeout: 500, ...login });
  // Nobody listens yet.
  client.on('error', () => undefined);
  await eventually('the Sentinel', () => client.ping().catch(() => null));
  return {
    port,
    pid: sentinel.pid ?? 0,
    url: `redis://127.0.0.1:${port}`,
    client,
    [Symbol.asyncDispose]: async () => {
      client.disconnect();
      sentinel.kill('SIGKILL');
      await exited;
      await folder[Symbol.asyncDispose]();
    },
  };
}

/** The name of the primary in all groups. */
/** A failover takes a few seconds. */
const MOVED_MS_MAX = 30_000;

/** A sentinel that is asked during a failover refuses. */
const ASK_EVERY_MS = 500;

export const MASTER = 'mymaster';

export interface GroupOptions {
  readonly replicas?: number;
  /** More arguments for the primary and the replicas. */
  readonly redisArgs?: readonly string[];
}

/** A primary, its replicas, and three sentinels, which know each other. */
export class SentinelGroup implements AsyncDisposable {
  readonly servers: readonly RunningRedis[];
  readonly sentinels: readonly RunningSentinel[];
  readonly #clients: readonly Redis[];

  private constructor(servers: readonly RunningRedis[], sentinels: readonly RunningSentinel[]) {
    this.servers = servers;
    this.sentinels = sentinels;
    this.#clients = servers.map(({ port }) => quietClient(port));
  }

  static async start({ replicas = 1, redisArgs = [] }: GroupOptions = {}) {
    const args = ['--repl-diskless-sync-delay', '0', ...redisArgs];
    const [primary, ...others] = (await Promise.all(
      Array.from({ length: 1 + replicas }, () => startRedis({ args })),
    )) as [RunningRedis, ...RunningRedis[]];
    // Not by an argument: one that was promoted, and restarts, would be a replica of the first primary.
    for (const replica of others) {
      await withRedis(replica, (redis) => redis.replicaof('127.0.0.1', primary.port));
    }
    const sentinels = await Promise.all(
      [0, 1, 2].map(() => startSentinel(MASTER, primary.port, { quorum: 2 })),
    );
    const group = new SentinelGroup([primary, ...others], sentinels);
    await group.settled();
    return group;
  }

  /** A section `sentinel` of a configuration. */
  get section(): { readonly master: string; readonly nodes: readonly string[] } {
    return { master: MASTER, nodes: this.sentinels.map(({ port }) => `127.0.0.1:${port}`) };
  }

  /** A client of one server, which reconnects. */
  client(server: RunningRedis): Redis {
    return this.#clients[this.servers.indexOf(server)] as Redis;
  }

  /** The server that a majority of the sentinels names. */
  async primary(): Promise<RunningRedis> {
    const ports = await Promise.all(
      this.sentinels.map(async ({ client }) => {
        const named = await client
          .call('SENTINEL', 'GET-MASTER-ADDR-BY-NAME', MASTER)
          .catch(() => null);
        return Number((named as string[] | null)?.[1]);
      }),
    );
    const server = this.servers.find(({ port }) => ports.filter((one) => one === port).length > 1);
    if (server === undefined) throw new Error(`no majority: ${ports.join(', ')}`);
    return server;
  }

  /**
   * Asks for a failover until a majority names another server, and resolves with that. A sentinel that begins a failover
   * may abort it: on a busy machine, no replica is good enough for a moment.
   */
  async failOver(): Promise<RunningRedis> {
    const before = await this.primary();
    const ask = (sentinel: RunningSentinel) =>
      sentinel.client.call('SENTINEL', 'FAILOVER', MASTER).then(
        () => true,
        () => false,
      );
    const untilMs = performance.now() + MOVED_MS_MAX;
    const asking = (async () => {
      while (performance.now() < untilMs && (await this.primary().catch(() => null)) === before) {
        const [sentinel] = this.sentinels;
        if (sentinel !== undefined) await ask(sentinel);
        await sleep(ASK_EVERY_MS);
      }
    })();
    const moved = await this.movedFrom(before);
    await asking;
    return moved;
  }

  /** Resolves with the new primary when a majority names another server than this one. */
  movedFrom(before: RunningRedis): Promise<RunningRedis> {
    return eventually(
      'another primary',
      async () => {
        const now = await this.primary().catch(() => before);
        return now === before ? null : now;
      },
      MOVED_MS_MAX,
    );
  }

  /** All replicas follow the primary, and the sentinels know one another, the replicas and their states. */
  async settled(): Promise<void> {
    const isSettled = async () => {
      const primary = await this.primary().catch(() => null);
      if (primary === null) return false;
      const infos = await Promise.all(this.#clients.map((client) => client.info('replication')));
      const followers = infos.filter(
        (info) => info.includes('master_link_status:up') && info.includes(`:${primary.port}\r`),
      );
      if (followers.length !== this.servers.length - 1) return false;
      const views = await Promise.all(
        this.sentinels.map(({ client }) => viewOf(client, this.servers.length)),
      );
      return views.every(Boolean);
    };
    await eventually('a settled group', () => isSettled().catch(() => false), 60_000);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const client of this.#clients) client.disconnect();
    for (const sentinel of this.sentinels) await sentinel[Symbol.asyncDispose]();
    for (const server of this.servers) {
      resume(server);
      await server.stop();
    }
  }
}

/** Whether a sentinel knows two others and all replicas, of which none is down. */
async function viewOf(client: Redis, servers: number): Promise<boolean> {
  const [others, replicas] = (await Promise.all([
    client.call('SENTINEL', 'SENTINELS', MASTER),
    client.call('SENTINEL', 'REPLICAS', MASTER),
  ])) as [string[][], string[][]];
  const isUp = (fields: string[]) =>
    !/down|disconnected/.test(fields[fields.indexOf('flags') + 1] ?? '');
  return others.length === 2 && replicas.filter(isUp).length === servers - 1;
}

function quietClient(port: number): Redis {
  const client = new Redis(port, '127.0.0.1', {
    protocol: 2,
    maxRetriesPerRequest: 0,
    retryStrategy: () => 100,
  });
  client.on('error', () => undefined);
  return client;
}

/** A server that was paused goes on. */
export function resume({ pid }: { readonly pid: number }): void {
  try {
    process.kill(pid, 'SIGCONT');
  } catch {
    // It has ended.
  }
}
