/**
 * Three replicas and a receiver. With a single Redis, or a cluster, each replica has its own proxies to each server; with
 * sentinels, it connects to the servers that they name. All servers keep everything.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { request } from 'undici';
import { type RunningRedis, startRedis } from '../../../scripts/lib/redis-server.mjs';
import { ownKeyPrefix } from '../../../src/state/format.js';
import { eventually } from '../eventually.js';
import { valueIn } from '../relay-metrics.js';
import { type RelayFile, RelayProcess, simpleFile } from '../relay-process.js';
import { SentinelGroup } from '../sentinel.js';
import { TcpProxy } from '../tcp-proxy.js';
import { assertVerified, type ReceivedRequest, TestReceiver } from '../test-receiver.js';
import { ChaosCluster } from './chaos-cluster.js';
import type { Random } from './random.js';
import type { Disturbance, Received } from './records.js';
import { type ReplicatedServer, ReplicationRecord } from './replication-record.js';

const NAMES = 'abc';

const DURABLE = ['--appendonly', 'yes', '--appendfsync', 'always'];

/** Webhooks of this endpoint never become dead letters: each attempt may fail, hardly forty. */
const RETRY = { schedule: ['200ms', '500ms', ...Array.from({ length: 38 }, () => '1s')] };

/** The end of the tests also ends the replicas: see the listeners of `exit`. */
const SIGNALS = ['SIGINT', 'SIGTERM'] as const;
const exit = () => process.exit(1);

/** How often an application asks which server is the primary. */
const FOLLOW_EVERY_MS = 50;

const ANSWER_MS_MAX = 5_000;
const REST_MS_MAX = 60_000;
const CATCH_UP_MS_MAX = 5_000;

/** So many events are processed within a fraction of a second. */
const WAITING_MAX = 50;

/** The state of a replica, from its own metrics and log. */
export interface Look {
  readonly isReady: boolean;
  readonly isWatching: boolean;
  readonly gaps: number;
  /** Notifications that it has received and not processed yet. */
  readonly queued: number;
}

const SILENT: Look = { isReady: false, isWatching: false, gaps: Number.NaN, queued: Number.NaN };

export type Topology = 'single' | 'sentinel' | 'cluster';

/** All keys of the state of a cluster are in its slot. */
export const STATE_KEY = ownKeyPrefix('{expiry-relay}');

export type Servers =
  | { readonly kind: 'single'; readonly redis: RunningRedis }
  /** A primary and two replicas. */
  | { readonly kind: 'sentinel'; readonly group: SentinelGroup }
  /** Three primaries with a replica each, which hold the keys and the state. */
  | { readonly kind: 'cluster'; readonly cluster: ChaosCluster };

async function startServers(topology: Topology, args: readonly string[]): Promise<Servers> {
  switch (topology) {
    case 'single':
      return { kind: 'single', redis: await startRedis({ args }) };
    case 'sentinel':
      return {
        kind: 'sentinel',
        group: await SentinelGroup.start({ replicas: 2, redisArgs: args }),
      };
    case 'cluster':
      return { kind: 'cluster', cluster: await ChaosCluster.start(args) };
  }
}

/** A place for one replica at a time. */
export class Slot {
  readonly name: string;
  /** The connection for notifications and keys. */
  readonly keysWay: readonly TcpProxy[];
  /** The connection to the state. */
  readonly stateWay: readonly TcpProxy[];
  /** All processes of this place, the current one last. */
  readonly processes: RelayProcess[] = [];
  #adminUrl = '';

  private constructor(name: string, keysWay: readonly TcpProxy[], stateWay: readonly TcpProxy[]) {
    this.name = name;
    this.keysWay = keysWay;
    this.stateWay = stateWay;
  }

  /** Empty as yet. */
  static async open(name: string, servers: Servers): Promise<Slot> {
    switch (servers.kind) {
      case 'single': {
        const { port } = servers.redis;
        return new Slot(name, [await TcpProxy.start(port)], [await TcpProxy.start(port)]);
      }
      case 'sentinel':
        return new Slot(name, [], []);
      case 'cluster': {
        const { nodes } = servers.cluster;
        // The state is in the cluster as well.
        return new Slot(name, await Promise.all(nodes.map(({ port }) => TcpProxy.start(port))), []);
      }
    }
  }

  /** The proxies to Redis; none with sentinels, which name the servers themselves. */
  get ways(): readonly TcpProxy[] {
    return [...this.keysWay, ...this.stateWay];
  }

  get process(): RelayProcess | undefined {
    return this.processes.at(-1);
  }

  /** Starts a replica, ready or not. */
  async start(file: RelayFile): Promise<void> {
    const started = await RelayProcess.spawn(file);
    this.processes.push(started);
    this.#adminUrl = await started.adminUrl();
  }

  async look(): Promise<Look> {
    if (!this.process?.running) return SILENT;
    try {
      const [watching = 0, gaps = Number.NaN, queued = Number.NaN] = await Promise.all(
        ['watching', 'gaps_total', 'expirations_queued'].map((name) =>
          this.metric(`expiry_relay_${name}`),
        ),
      );
      // Read last: a replica that has just begun a gap may have been ready before.
      const { status } = await this.#get('/readyz');
      return { isReady: status === 200, isWatching: watching === 1, gaps, queued };
    } catch {
      return SILENT;
    }
  }

  async metric(series: string): Promise<number> {
    const { text } = await this.#get('/metrics');
    return valueIn(text, series);
  }

  async #get(path: string): Promise<{ status: number; text: string }> {
    const signal = AbortSignal.timeout(ANSWER_MS_MAX);
    const { statusCode, body } = await request(this.#adminUrl + path, { signal });
    return { status: statusCode, text: await body.text() };
  }
}

export class Deployment implements AsyncDisposable {
  readonly servers: Servers;
  readonly receiver: TestReceiver;
  readonly slots: readonly Slot[];
  readonly received: Received[] = [];
  /** The failovers of sentinels. */
  readonly failovers: Disturbance[] = [];
  #record: ReplicationRecord | null = null;
  /** The port of the Redis that has a key now. */
  readonly portOf: (key: string) => number;
  /** Whether the application is connected to the server at a port. */
  isWriterAt: (port: number) => boolean = () => false;

  private constructor(servers: Servers, receiver: TestReceiver, slots: readonly Slot[]) {
    this.servers = servers;
    this.portOf = this.#followPrimary();
    this.receiver = receiver;
    this.slots = slots;
    process.on('exit', this.#endAll);
    for (const signal of SIGNALS) process.on(signal, exit);
  }

  /** Three replicas, ready, of which one watches. */
  static async start(
    random: Random,
    saysNewKeys: boolean,
    topology: Topology,
  ): Promise<Deployment> {
    const flags = saysNewKeys ? ['--notify-keyspace-events', 'n'] : [];
    const servers = await startServers(topology, [...DURABLE, ...flags]);
    const receiver = await TestReceiver.start();
    const slots = await Promise.all([...NAMES].map((name) => Slot.open(name, servers)));
    const deployment = new Deployment(servers, receiver, slots);
    const answer = moody(random);
    receiver.respond = (one, response, count) => {
      // A signature is valid for five minutes.
      const received: MutableReceived = { ...receivedOf(one), acceptedAtMs: null };
      deployment.received.push(received);
      response.on('finish', () => {
        if (response.statusCode === ACCEPTED) received.acceptedAtMs = Date.now();
      });
      return answer(one, response, count);
    };
    try {
      await Promise.all(slots.map((slot) => deployment.fill(slot)));
      await deployment.atRest();
    } catch (error) {
      await deployment[Symbol.asyncDispose]();
      throw error;
    }
    return deployment;
  }

  /** Asks the sentinels again and again, until the deployment ends. */
  #followPrimary(): (key: string) => number {
    if (this.servers.kind === 'cluster') {
      const { cluster } = this.servers;
      return (key) => cluster.portOf(key);
    }
    if (this.servers.kind === 'single') {
      const { port } = this.servers.redis;
      return () => port;
    }
    const { group } = this.servers;
    const servers = group.servers.map((server) => ({
      port: server.port,
      client: group.client(server),
    }));
    this.#record = new ReplicationRecord(servers);
    let [primary] = servers;
    let sinceMs = Date.now();
    const follow = async () => {
      while (!this.#isOver) {
        const named = await group.primary().catch(() => null);
        const now = servers.find(({ port }) => port === named?.port) ?? primary;
        if (primary !== undefined && now !== undefined && now !== primary) {
          void this.#recordLoss(primary, now, sinceMs);
          sinceMs = Date.now();
        }
        primary = now;
        await sleep(FOLLOW_EVERY_MS);
      }
    };
    void follow();
    return () => primary?.port ?? 0;
  }

  /**
   * Sentinels fail over by themselves, too, when a busy machine lets a primary seem down. `sinceMs`: when the former one
   * became the primary; a replica that has not followed it since has nothing of it.
   */
  async #recordLoss(
    former: ReplicatedServer,
    promoted: ReplicatedServer,
    sinceMs: number,
  ): Promise<void> {
    const all = { fromMs: sinceMs, port: former.port };
    const lost = (await this.#record?.lossAt(former, promoted).catch(() => all)) ?? all;
    while (this.isWriterAt(former.port) && !this.#isOver) await sleep(FOLLOW_EVERY_MS);
    const loss = { ...lost, toMs: Date.now(), isOfState: true };
    const what = `failover from ${former.port} to ${promoted.port}`;
    this.failovers.push({ what, ...loss, gap: null, losesWrites: loss });
  }

  /** The received requests, with the deadlines that the application had given the keys. */
  receivedAsGiven(): Received[] {
    if (this.servers.kind !== 'cluster') return this.received;
    const { cluster } = this.servers;
    return this.received.map((one) => {
      const { key, expiredAtMs } = one;
      return expiredAtMs === null
        ? one
        : { ...one, expiredAtMs: cluster.givenDeadlineMs(key, expiredAtMs) };
    });
  }

  /** Starts a replica in a place whose last one has ended. */
  async fill(slot: Slot): Promise<void> {
    await slot.start(
      simpleFile('', this.receiver.url, {
        ...sectionsOf(this.servers, slot),
        endpoint: { retry: RETRY, timeout: '5s' },
        route: { match: 'order:*' },
        shutdown: { grace: '5s' },
      }),
    );
  }

  looks(): Promise<Look[]> {
    return Promise.all(this.slots.map((slot) => slot.look()));
  }

  /** All are ready, and one watches; all replicas of Redis follow their primaries. */
  async atRest(): Promise<void> {
    if (this.servers.kind === 'sentinel') await this.servers.group.settled();
    if (this.servers.kind === 'cluster') await this.servers.cluster.cluster.settled();
    let looks: Look[] = [];
    const isAtRest = async () => {
      looks = await this.looks();
      const watching = looks.filter(({ isWatching }) => isWatching).length;
      return looks.every(({ isReady }) => isReady) && watching === 1;
    };
    await eventually('three replicas at rest, of which one watches', isAtRest, REST_MS_MAX).catch(
      (error) => {
        const starts = this.slots.map(({ process }) => process?.startError ?? '');
        throw new Error(`${error}; ${JSON.stringify(looks)}; ${JSON.stringify(starts)}`);
      },
    );
  }

  /** Whether the one that watches soon has processed nearly all that it has received. */
  async hasCaughtUp(): Promise<boolean> {
    const untilMs = Date.now() + CATCH_UP_MS_MAX;
    while (Date.now() < untilMs) {
      const looks = await this.looks();
      if (looks.some(({ isWatching, queued }) => isWatching && queued <= WAITING_MAX)) return true;
    }
    return false;
  }

  /** The one that watches first, then the others. Call it only when all have recovered. */
  async watcherFirst(): Promise<[Slot, Slot, Slot]> {
    const looks = await this.looks();
    const place = Math.max(
      0,
      looks.findIndex(({ isWatching }) => isWatching),
    );
    return [...this.slots.slice(place), ...this.slots.slice(0, place)] as [Slot, Slot, Slot];
  }

  #isOver = false;

  readonly #endAll = () => {
    for (const slot of this.slots) for (const each of slot.processes) each.kill('SIGKILL');
  };

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isOver = true;
    process.off('exit', this.#endAll);
    for (const signal of SIGNALS) process.off(signal, exit);
    this.#endAll();
    for (const { processes, ways } of this.slots) {
      for (const each of processes) await each[Symbol.asyncDispose]();
      for (const way of ways) await way[Symbol.asyncDispose]();
    }
    await this.receiver[Symbol.asyncDispose]();
    await endServers(this.servers);
    await this.#record?.[Symbol.asyncDispose]();
  }
}

function endServers(servers: Servers): PromiseLike<void> {
  switch (servers.kind) {
    case 'single':
      return servers.redis.stop();
    case 'sentinel':
      return servers.group[Symbol.asyncDispose]();
    case 'cluster':
      return servers.cluster[Symbol.asyncDispose]();
  }
}

type MutableReceived = { -readonly [Field in keyof Received]: Received[Field] };

const ACCEPTED = 204;

/** The sections of the configuration that name the servers. */
function sectionsOf(servers: Servers, { keysWay, stateWay }: Slot): RelayFile {
  if (servers.kind === 'sentinel') return { redis: { sentinel: servers.group.section } };
  if (servers.kind === 'cluster') {
    const places = servers.cluster.nodes.map(({ port }, at) => ({
      announced: `127.0.0.1:${port}`,
      reached: `127.0.0.1:${keysWay[at]?.port}`,
    }));
    const nodes = places.map(({ reached }) => reached);
    const map = Object.fromEntries(places.map(({ announced, reached }) => [announced, reached]));
    return { redis: { cluster: { nodes, address_map: map } } };
  }
  const urlOf = ([way]: readonly TcpProxy[]) => `redis://127.0.0.1:${way?.port}`;
  return { redis: { url: urlOf(keysWay) }, state: { url: `${urlOf(stateWay)}/0` } };
}

/** Accepts most requests, refuses some, and delays some. */
function moody(random: Random): TestReceiver['respond'] {
  return (_, response) => {
    const mood = random.weighted({ fine: 90, slow: 5, broken: 5 });
    if (mood === 'broken') return void response.writeHead(500).end();
    const waitMs = mood === 'slow' ? random.between(50, 1_000) : 0;
    setTimeout(() => response.writeHead(ACCEPTED).end(), waitMs);
  };
}

function receivedOf(request: ReceivedRequest): Omit<Received, 'acceptedAtMs'> {
  const { key, expired_at, detected_at, detected_by } = request.body.data;
  return {
    key,
    id: request.id,
    body: request.raw.toString(),
    atMs: request.atMs,
    expiredAtMs: typeof expired_at === 'string' ? Date.parse(expired_at) : null,
    detectedAtMs: Date.parse(String(detected_at)),
    detectedBy: String(detected_by),
    isVerified: isVerified(request),
  };
}

function isVerified(request: ReceivedRequest): boolean {
  try {
    assertVerified(request);
    return true;
  } catch {
    return false;
  }
}
