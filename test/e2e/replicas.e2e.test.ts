/** Several replicas act as one: each expiration becomes one webhook, even if any of them dies. */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { describe, expect, it, onTestFinished } from 'vitest';
import { startRedis } from '../../scripts/lib/redis-server.mjs';
import { eventually } from '../support/eventually.js';
import { type RelayFile, RelayProcess, simpleFile } from '../support/relay-process.js';
import { expectEach, type ReceivedRequest, TestReceiver } from '../support/test-receiver.js';

/** Replicas of one deployment, and the one among them that captures. */
class Deployment implements AsyncDisposable {
  readonly #file: RelayFile;
  readonly #relays: RelayProcess[] = [];

  constructor(file: RelayFile) {
    this.#file = file;
  }

  async add(): Promise<RelayProcess> {
    const relay = await RelayProcess.start(this.#file);
    this.#relays.push(relay);
    return relay;
  }

  /** The replica that captures, if it is exactly one. */
  async watching(): Promise<RelayProcess> {
    return eventually('one replica watches', () => {
      const watching = this.#relays.filter(({ running, watches }) => running && watches);
      return watching.length === 1 ? watching[0] : undefined;
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const relay of this.#relays) {
      relay.kill('SIGCONT');
      await relay[Symbol.asyncDispose]();
    }
  }
}

interface Load {
  readonly keysPerS: number;
  /** How long the `nth` key lives, in milliseconds. */
  readonly lifeMs: (nth: number) => number;
}

/** Some expire before a replica can read their deadlines. */
const MIXED: Load = { keysPerS: 200, lifeMs: (nth) => (nth % 3 === 0 ? 10 : 400) };

/** Each has a TTL long enough for a replica to read its deadline. */
const STEADY: Load = { keysPerS: 300, lifeMs: () => 1_200 };

/** On a busy machine, a replica may read a deadline too late. */
const UNDATED_SHARE_MAX = 0.01;

/** From the kill of the replica that watches to the first webhook that another one has captured. */
const SILENCE_MS_MAX = 3_000;
/** The same on a machine so busy that processes stall. */
const SILENCE_MS_MAX_BUSY = 6_000;

/** Three replicas, and a writer of short-lived keys that runs until it is stopped. */
async function aDeployment({ keysPerS, lifeMs }: Load = MIXED) {
  const redis = await startRedis();
  onTestFinished(() => redis.stop());
  const receiver = await TestReceiver.start();
  onTestFinished(() => receiver[Symbol.asyncDispose]());
  const deployment = new Deployment(simpleFile(redis.url, receiver.url));
  onTestFinished(() => deployment[Symbol.asyncDispose]());
  for (let n = 0; n < 3; n += 1) await deployment.add();
  const client = new Redis(redis.url, { protocol: 2 });
  onTestFinished(() => client.disconnect());
  const stop = new AbortController();
  let written = 0;
  const writing = (async () => {
    const beganAtMs = performance.now();
    while (!stop.signal.aborted) {
      const pipeline = client.pipeline();
      const wanted = ((performance.now() - beganAtMs) * keysPerS) / 1_000;
      for (; written < wanted; written += 1) {
        pipeline.set(`order:${written}`, '', 'PX', lifeMs(written));
      }
      await pipeline.exec();
      await sleep(4);
    }
  })();
  return {
    deployment,
    receiver,
    /** Stops the writer; each written key has arrived once, or with identical repeats. */
    async expectAll() {
      stop.abort();
      await writing;
      const keys = () => new Set(receiver.keys).size;
      await eventually('all webhooks', () => keys() === written, 30_000);
      expectEach(receiver, written);
    },
  };
}

describe('three replicas', () => {
  it('send one webhook for each expiration while the one that watches is killed, twice', async () => {
    const { deployment, expectAll } = await aDeployment();
    for (let kills = 0; kills < 2; kills += 1) {
      const watching = await deployment.watching();
      await watching.stop('SIGKILL');
      const killedAtMs = Date.now();
      expect(await deployment.watching()).not.toBe(watching);
      expect(Date.now() - killedAtMs).toBeLessThan(4_000);
      await sleep(500);
    }
    await expectAll();
  }, 90_000);

  it('pause for three seconds at most when the one that watches is killed under load, and keep each deadline', async () => {
    const { deployment, receiver, expectAll } = await aDeployment(STEADY);
    const silencesMs: number[] = [];
    for (let kills = 0; kills < 4; kills += 1) {
      const watching = await deployment.watching();
      const before = receiver.requests.length;
      await eventually('a load', () => receiver.requests.length > before + 150);
      const killedAtMs = Date.now();
      await watching.stop('SIGKILL');
      const isLater = ({ body }: ReceivedRequest) =>
        Date.parse(String(body.data.expired_at)) > killedAtMs;
      const first = await eventually('another captures', () => receiver.requests.find(isLater));
      silencesMs.push(first.atMs - killedAtMs);
      await deployment.add();
    }
    const ordered = silencesMs.toSorted((a, b) => a - b);
    expect(ordered[1], `${silencesMs}`).toBeLessThanOrEqual(SILENCE_MS_MAX);
    expect(ordered.at(-1), `${silencesMs}`).toBeLessThanOrEqual(SILENCE_MS_MAX_BUSY);
    await expectAll();
    const undated = receiver.requests.filter(({ body }) => body.data.expired_at === null);
    expect(undated.length).toBeLessThanOrEqual(receiver.requests.length * UNDATED_SHARE_MAX);
  }, 120_000);

  it('tolerate one that freezes while it watches, and resumes', async () => {
    const { deployment, receiver, expectAll } = await aDeployment();
    const paused = await deployment.watching();
    paused.kill('SIGSTOP');
    const before = receiver.requests.length;
    await eventually('others go on', () => receiver.requests.length > before + 300, 20_000);
    await sleep(4_000);
    paused.kill('SIGCONT');
    await eventually('it is fenced', () => !paused.watches);
    await expectAll();
  }, 90_000);

  it('take over although the watched Redis cannot save its data, and rejects writes and PING', async () => {
    await using redis = await startRedis();
    await using state = await startRedis();
    await using receiver = await TestReceiver.start();
    const file = simpleFile(redis.url, receiver.url, { state: { url: state.url } });
    await using deployment = new Deployment(file);
    for (let n = 0; n < 2; n += 1) await deployment.add();
    const watching = await deployment.watching();
    const client = new Redis(redis.url, { protocol: 2 });
    onTestFinished(() => client.disconnect());
    for (let n = 0; n < 20; n += 1) await client.set(`order:${n}`, '', 'PX', 6_000 + 50 * n);
    await mkdir(join(redis.dir, 'dump.rdb', 'x'), { recursive: true });
    await client.config('SET', 'save', '3600 1');
    await eventually('a save that fails', async () => {
      await client.bgsave().catch(() => undefined);
      return (await client.info('persistence')).includes('bgsave_status:err');
    });
    await expect(client.ping()).rejects.toThrow('MISCONF');
    await watching.stop('SIGKILL');
    expect(await deployment.watching()).not.toBe(watching);
    await eventually('all webhooks', () => new Set(receiver.keys).size === 20, 20_000);
    expectEach(receiver, 20);
  }, 60_000);

  it('hand the lease over at once when one is stopped', async () => {
    const { deployment, receiver, expectAll } = await aDeployment();
    const stopped = await deployment.watching();
    await stopped.stop();
    const stoppedAtMs = Date.now();
    const watching = await deployment.watching();
    expect(Date.now() - stoppedAtMs).toBeLessThan(2_000);
    await expectAll();
    expect(await watching.metric('expiry_relay_watching')).toBe(1);
    expect(receiver.requests.map(({ body }) => body.data.detected_by)).not.toContain('recovery');
  }, 90_000);
});
