/** Replicas of one deployment under a load. */
import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { onTestFinished } from 'vitest';
import { startRedis } from '../../scripts/lib/redis-server.mjs';
import { eventually } from './eventually.js';
import { type RelayFile, RelayProcess, simpleFile } from './relay-process.js';
import { expectEach, TestReceiver } from './test-receiver.js';

/** Replicas of one deployment, and the one among them that captures. */
export class Deployment implements AsyncDisposable {
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

export interface Load {
  readonly keysPerS: number;
  /** How long the `nth` key lives, in milliseconds. */
  readonly lifeMs: (nth: number) => number;
}

/** Some expire before a replica can read their deadlines. */
const MIXED: Load = { keysPerS: 200, lifeMs: (nth) => (nth % 3 === 0 ? 10 : 400) };

/** Three replicas, and a writer of short-lived keys that runs until it is stopped. */
export async function aDeployment({ keysPerS, lifeMs }: Load = MIXED) {
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
