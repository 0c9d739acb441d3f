/** Actions on a Redis Cluster: failovers, hanging nodes, and slots that move. */
import { setTimeout as sleep } from 'node:timers/promises';
import { slotOf } from '../../../src/redis/slots.js';
import type { Shard } from '../cluster.js';
import { eventually } from '../eventually.js';
import { resume } from '../sentinel.js';
import type { Outcome, ToAllAction } from './actions.js';
import type { ChaosCluster } from './chaos-cluster.js';
import { type Deployment, STATE_KEY } from './deployment.js';
import type { Random } from './random.js';
import { TAGS } from './writer.js';

const FAILOVER_MS_MAX = 30_000;

/** The nodes take a primary for down after two seconds. */
const SHORT_MS_MAX = 600;

/** A failover that has begun is over by then. */
const ELECTED_MS = 1_500;

const MOVED_MAX = 30;

const STATE_SLOT = slotOf(STATE_KEY);

/** The slots of the application's keys. */
const TAG_SLOTS = Array.from({ length: TAGS }, (_, tag) => slotOf(`{${tag}}`));

function clusterOf({ servers }: Deployment): ChaosCluster {
  if (servers.kind !== 'cluster') throw new Error('expected a cluster');
  return servers.cluster;
}

type Pick = (cluster: ChaosCluster, random: Random) => Shard;

const any: Pick = ({ shards }, random) => random.pick(shards as [Shard, ...Shard[]]);
const ofState: Pick = (cluster) => cluster.shardOf(STATE_SLOT);

/** After a primary was away: whether its replica has taken over, and what that one lacks. */
async function outcomeOf(cluster: ChaosCluster, { primary, slots }: Shard): Promise<Outcome> {
  const now = cluster.shards.find(({ replicas }) => replicas.includes(primary))?.primary;
  if (now === undefined) return { losesWrites: null, hasGap: 'perhaps', slots };
  const losesWrites = await cluster.lossAt(primary, now, STATE_KEY);
  return { losesWrites, hasGap: 'certainly', slots };
}

function kill(pick: Pick): ToAllAction {
  return async (deployment, random) => {
    const cluster = clusterOf(deployment);
    const shard = pick(cluster, random);
    const { server } = shard.primary;
    await server.kill('SIGKILL');
    const promoted = await cluster.movedFrom(shard);
    const losesWrites = await cluster.lossAt(shard.primary, promoted, STATE_KEY);
    await sleep(random.between(0, 4_000));
    await server.restart();
    return { losesWrites, hasGap: 'certainly', slots: shard.slots };
  };
}

/** Its replica takes over if it hangs for long enough. */
function hang(pick: Pick): ToAllAction {
  return async (deployment, random) => {
    const cluster = clusterOf(deployment);
    const shard = pick(cluster, random);
    process.kill(shard.primary.server.pid, 'SIGSTOP');
    try {
      await sleep(random.between(1_000, 8_000));
    } finally {
      resume(shard.primary.server);
    }
    await sleep(ELECTED_MS);
    await cluster.cluster.settled();
    return outcomeOf(cluster, shard);
  };
}

function failOver(pick: Pick): ToAllAction {
  return async (deployment, random) => {
    const cluster = clusterOf(deployment);
    const shard = pick(cluster, random);
    const [replica] = shard.replicas;
    const begin = async () => {
      await replica?.client.cluster('FAILOVER');
      return true;
    };
    await eventually('a failover', () => begin().catch(() => false), FAILOVER_MS_MAX);
    await cluster.movedFrom(shard);
    // The former primary stops, and waits until the replica has everything.
    return { losesWrites: null, hasGap: 'certainly', slots: shard.slots };
  };
}

/** The other nodes do not notice it, or do at the last moment. */
const restart: ToAllAction = async (deployment, random) => {
  const cluster = clusterOf(deployment);
  const shard = any(cluster, random);
  await shard.primary.server.kill('SIGKILL');
  await sleep(random.between(0, SHORT_MS_MAX));
  await shard.primary.server.restart();
  await sleep(ELECTED_MS);
  await cluster.cluster.settled();
  return { ...(await outcomeOf(cluster, shard)), hasGap: 'certainly' };
};

const STILL: Outcome = { losesWrites: null, hasGap: 'never', slots: null };

function move(
  slotsOf: (shard: Shard, random: Random) => readonly number[],
  pick: Pick,
): ToAllAction {
  return async (deployment, random) => {
    const cluster = clusterOf(deployment);
    const from = pick(cluster, random);
    const others = cluster.shards.filter((shard) => shard !== from);
    const to = random.pick(others as [Shard, ...Shard[]]);
    for (const slot of slotsOf(from, random)) {
      const pause = () => sleep(random.between(0, 60));
      await cluster.moveSlot(slot, from.primary, to.primary, pause);
    }
    return STILL;
  };
}

const someSlots = ({ slots }: Shard, random: Random) => {
  const isIn = (slot: number) => slots.some(([from, to]) => from <= slot && slot <= to);
  const all = TAG_SLOTS.filter((slot) => isIn(slot) && slot !== STATE_SLOT);
  return random.shuffled([...new Set(all)]).slice(0, random.between(1, MOVED_MAX));
};

export const CLUSTER_CHANGES = {
  'kill a primary': kill(any),
  'kill the primary of the state': kill(ofState),
  'CLUSTER FAILOVER': failOver(any),
  'CLUSTER FAILOVER of the state': failOver(ofState),
  'hang a primary': hang(any),
  'hang the primary of the state': hang(ofState),
  'restart a primary': restart,
  'move slots': move(someSlots, any),
  'move the state': move(() => [STATE_SLOT], ofState),
} satisfies Record<string, ToAllAction>;
