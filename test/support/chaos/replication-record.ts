/** How far each server had written, for the evidence of what a promoted replica may lack. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import { parseInfo } from '../../../src/server/info.js';
import type { Loss } from './records.js';

const LOOK_EVERY_MS = 50;

/** How long what a primary had written is remembered. */
const KEPT_MS = 120_000;

export interface ReplicatedServer {
  readonly port: number;
  readonly client: Redis;
}

/** All that a primary had replied to before `atMs` is within this part of its replication stream. */
interface Written {
  readonly atMs: number;
  readonly stream: string;
  readonly offset: number;
}

export class ReplicationRecord implements AsyncDisposable {
  /** By port. */
  readonly #written = new Map<number, Written[]>();
  #isOver = false;
  readonly #loops: Promise<unknown>;

  constructor(servers: readonly ReplicatedServer[]) {
    this.#loops = Promise.all(servers.map((server) => this.#measure(server)));
  }

  /**
   * The writes to a former primary that the promoted one may lack: what it had replied to later than it had written
   * the last of what the promoted one has. The replication stream tells how much that is.
   */
  async lossAt(
    former: ReplicatedServer,
    promoted: ReplicatedServer,
  ): Promise<Omit<Loss, 'isOfState'>> {
    const info = parseInfo(await promoted.client.info('replication'));
    const stream = info.get('master_replid2');
    const reachedOffset = Number(info.get('second_repl_offset')) - 1;
    const written = this.#written.get(former.port) ?? [];
    const last = written.findLast((one) => one.stream === stream && one.offset <= reachedOffset);
    if (last === undefined) throw new Error(`unknown what ${promoted.port} has of ${former.port}`);
    return { fromMs: last.atMs, toMs: Date.now(), port: former.port };
  }

  async #measure({ client, port }: ReplicatedServer): Promise<void> {
    const written: Written[] = [];
    this.#written.set(port, written);
    for (; !this.#isOver; await sleep(LOOK_EVERY_MS)) {
      const atMs = Date.now();
      const text = await client.info('replication').catch(() => null);
      if (text === null) continue;
      const info = parseInfo(text);
      if (info.get('role') !== 'master') continue;
      const stream = info.get('master_replid') ?? '';
      written.push({ atMs, stream, offset: Number(info.get('master_repl_offset')) });
      while ((written[0]?.atMs ?? atMs) < atMs - KEPT_MS) written.shift();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isOver = true;
    await this.#loops;
  }
}
