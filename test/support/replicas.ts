/** Replicas that may watch, with their leases, in this process. */
import type { TestContext } from 'vitest';
import { type Clock, systemClock } from '../../src/lib/clock.js';
import type { Configuration } from '../../src/model/configuration.js';
import type { Standing } from '../../src/state/lease.js';
import { RedisLease } from '../../src/state/redis-lease.js';
import { openState } from './redis-state.js';

export interface ReplicaOptions {
  /** `name@digest` has another configuration than `name`. */
  readonly names: readonly string[];
  readonly clock?: Clock;
}

export async function openReplicas(
  { onTestFinished }: Pick<TestContext, 'onTestFinished'>,
  port: number,
  prefix: string,
  { names, clock = systemClock }: ReplicaOptions,
) {
  return Promise.all(
    names.map(async (name) => {
      const opened = await openState(port, prefix);
      const [replica = '', digest = 'a1'] = name.split('@');
      const standings: Standing['kind'][] = [];
      const configurations = new Map<string, Configuration>();
      const lease = new RedisLease({
        state: opened.state,
        replica,
        configuration: () => configurations.get(replica) ?? configurationWith(digest),
        clock,
        onLook: ({ kind }) => {
          if (standings.at(-1) !== kind) standings.push(kind);
        },
      });
      onTestFinished(async () => {
        await lease.stop();
        opened.state.close();
      });
      /** Gives the replica another configuration, as a reload does. */
      const reload = (other: string) => {
        configurations.set(replica, configurationWith(other));
        lease.reconfigure();
      };
      return Object.assign(lease, { state: opened.state, standings, reload });
    }),
  );
}

const configurationWith = (digest: string): Configuration => ({
  digest,
  endpoints: new Map([
    ['shop', digest],
    ['log', '0f'],
  ]),
});

export type Replica = Awaited<ReturnType<typeof openReplicas>>[number];

/** Lets it seek the lease, and waits until it holds it; resolves with its token. */
export async function holds(lease: Replica | undefined): Promise<string> {
  if (lease === undefined) throw new Error('no such replica');
  lease.compete(true);
  lease.start();
  await lease.taken(new AbortController().signal);
  return lease.token ?? '';
}
