/** Three replicas, each with its own proxies to one Redis, which keeps everything; and a receiver. */
import { request } from 'undici';
import { type RunningRedis, startRedis } from '../../../scripts/lib/redis-server.mjs';
import { eventually } from '../eventually.js';
import { type RelayFile, RelayProcess, simpleFile } from '../relay-process.js';
import { TcpProxy } from '../tcp-proxy.js';
import { assertVerified, type ReceivedRequest, TestReceiver } from '../test-receiver.js';
import type { Random } from './random.js';
import type { Received } from './records.js';

const NAMES = 'abc';

const DURABLE = ['--appendonly', 'yes', '--appendfsync', 'always'];

/** Webhooks of this endpoint never become dead letters: each attempt may fail, hardly forty. */
const RETRY = { schedule: ['200ms', '500ms', ...Array.from({ length: 38 }, () => '1s')] };

/** The end of the tests also ends the replicas: see the listeners of `exit`. */
const SIGNALS = ['SIGINT', 'SIGTERM'] as const;
const exit = () => process.exit(1);

const ANSWER_MS_MAX = 5_000;
const REST_MS_MAX = 60_000;
const CATCH_UP_MS_MAX = 5_000;

/** The state of a replica, from its own metrics and log. */
export interface Look {
  readonly isReady: boolean;
  readonly isWatching: boolean;
  readonly gaps: number;
  /** Notifications that it has received and not processed yet. */
  readonly queued: number;
}

const SILENT: Look = { isReady: false, isWatching: false, gaps: Number.NaN, queued: Number.NaN };

/** A place for one replica at a time. */
export class Slot {
  readonly name: string;
  /** The connection for notifications and keys. */
  readonly keysWay: TcpProxy;
  /** The connection to the state. */
  readonly stateWay: TcpProxy;
  /** All processes of this place, the current one last. */
  readonly processes: RelayProcess[] = [];
  #adminUrl = '';

  private constructor(name: string, keysWay: TcpProxy, stateWay: TcpProxy) {
    this.name = name;
    this.keysWay = keysWay;
    this.stateWay = stateWay;
  }

  /** Empty as yet. */
  static async open(name: string, redisPort: number): Promise<Slot> {
    return new Slot(name, await TcpProxy.start(redisPort), await TcpProxy.start(redisPort));
  }

  get ways(): readonly TcpProxy[] {
    return [this.keysWay, this.stateWay];
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
    const line = text.split('\n').find((candidate) => candidate.startsWith(`${series} `));
    return line === undefined ? Number.NaN : Number(line.slice(series.length));
  }

  async #get(path: string): Promise<{ status: number; text: string }> {
    const signal = AbortSignal.timeout(ANSWER_MS_MAX);
    const { statusCode, body } = await request(this.#adminUrl + path, { signal });
    return { status: statusCode, text: await body.text() };
  }
}

export class Deployment implements AsyncDisposable {
  readonly redis: RunningRedis;
  readonly receiver: TestReceiver;
  readonly slots: readonly Slot[];
  readonly received: Received[] = [];

  private constructor(redis: RunningRedis, receiver: TestReceiver, slots: readonly Slot[]) {
    this.redis = redis;
    this.receiver = receiver;
    this.slots = slots;
    process.on('exit', this.#endAll);
    for (const signal of SIGNALS) process.on(signal, exit);
  }

  /** Three replicas, ready, of which one watches. */
  static async start(random: Random, saysNewKeys: boolean): Promise<Deployment> {
    const flags = saysNewKeys ? ['--notify-keyspace-events', 'n'] : [];
    const redis = await startRedis({ args: [...DURABLE, ...flags] });
    const receiver = await TestReceiver.start();
    const slots = await Promise.all([...NAMES].map((name) => Slot.open(name, redis.port)));
    const deployment = new Deployment(redis, receiver, slots);
    const answer = moody(random);
    receiver.respond = (one, response, count) => {
      // A signature is valid for five minutes.
      deployment.received.push(receivedOf(one));
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

  /** Starts a replica in a place whose last one has ended. */
  async fill(slot: Slot): Promise<void> {
    await slot.start(
      simpleFile(urlOf(slot.keysWay), this.receiver.url, {
        state: { url: `${urlOf(slot.stateWay)}/0` },
        endpoint: { retry: RETRY, timeout: '5s' },
        route: { match: 'order:*' },
        shutdown: { grace: '5s' },
      }),
    );
  }

  looks(): Promise<Look[]> {
    return Promise.all(this.slots.map((slot) => slot.look()));
  }

  /** All are ready, and one watches. */
  async atRest(): Promise<void> {
    let looks: Look[] = [];
    const isAtRest = async () => {
      looks = await this.looks();
      const watching = looks.filter(({ isWatching }) => isWatching).length;
      return looks.every(({ isReady }) => isReady) && watching === 1;
    };
    await eventually('three replicas at rest, of which one watches', isAtRest, REST_MS_MAX).catch(
      (error) => {
        throw new Error(`${error}; ${JSON.stringify(looks)}`);
      },
    );
  }

  /** Whether the one that watches soon has processed all that it has received. */
  async hasCaughtUp(): Promise<boolean> {
    const untilMs = Date.now() + CATCH_UP_MS_MAX;
    while (Date.now() < untilMs) {
      const looks = await this.looks();
      if (looks.some(({ isWatching, queued }) => isWatching && queued === 0)) return true;
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

  readonly #endAll = () => {
    for (const slot of this.slots) for (const each of slot.processes) each.kill('SIGKILL');
  };

  async [Symbol.asyncDispose](): Promise<void> {
    process.off('exit', this.#endAll);
    for (const signal of SIGNALS) process.off(signal, exit);
    this.#endAll();
    for (const { processes, ways } of this.slots) {
      for (const each of processes) await each[Symbol.asyncDispose]();
      for (const way of ways) await way[Symbol.asyncDispose]();
    }
    await this.receiver[Symbol.asyncDispose]();
    await this.redis.stop();
  }
}

function urlOf({ port }: TcpProxy): string {
  return `redis://127.0.0.1:${port}`;
}

/** Accepts most requests, refuses some, and delays some. */
function moody(random: Random): TestReceiver['respond'] {
  return (_, response) => {
    const mood = random.weighted({ fine: 90, slow: 5, broken: 5 });
    if (mood === 'broken') return void response.writeHead(500).end();
    const waitMs = mood === 'slow' ? random.between(50, 1_000) : 0;
    setTimeout(() => response.writeHead(204).end(), waitMs);
  };
}

function receivedOf(request: ReceivedRequest): Received {
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
