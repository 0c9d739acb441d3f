/** Nodes of a Redis Cluster: real servers, each with the slots that a test gives it. */
import { Redis } from 'ioredis';
import { freePort } from '../../scripts/lib/free-port.mjs';
import { type RunningRedis, startRedis } from '../../scripts/lib/redis-server.mjs';
import { eventually } from './eventually.js';

export const SLOTS = 16_384;

/** The nodes communicate on a second port, 10,000 above theirs, which may be in use. */
const TRIES_MAX = 5;

/** A single slot of all takes thousands of tries. */
const KEYS_AT_ONCE = 100;

const CLUSTER = [
  ...['--cluster-enabled', 'yes'],
  ...['--cluster-require-full-coverage', 'no'],
  ...['--cluster-node-timeout', '2000'],
];

/** A single node without slots: it accepts no key. */
export async function startClusterNode({
  args = [],
  binary,
}: {
  readonly args?: readonly string[];
  readonly binary?: string;
} = {}): Promise<RunningRedis> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await startRedis({ port: await freePort(), args: [...CLUSTER, ...args], binary });
    } catch (error) {
      if (tries === TRIES_MAX) throw error;
    }
  }
}

/** The node accepts the keys of these slots, including `to`, and refuses all others. */
export async function serveSlots(port: number, from: number, to: number): Promise<void> {
  await withClient(port, async (client) => {
    const slots = Array.from({ length: to - from + 1 }, (_, n) => from + n);
    await client.cluster('ADDSLOTS', ...slots);
    await stateIsOk(client);
  });
}

/** The node takes the keys of this one's slot. */
export async function serveSlotOf(port: number, key: string): Promise<void> {
  await withClient(port, async (client) => {
    const slot = await client.cluster('KEYSLOT', key);
    await client.cluster('ADDSLOTS', slot).catch((error: Error) => {
      if (!error.message.includes('already busy')) throw error;
    });
    await stateIsOk(client);
  });
}

/** From then on each of them knows the other's slots. */
export async function join(one: RunningRedis, other: RunningRedis): Promise<void> {
  await withClient(one.port, (client) => client.cluster('MEET', '127.0.0.1', other.port));
  for (const { port } of [one, other]) {
    await withClient(port, (client) =>
      eventually('both know both', async () => (await clusterInfo(client)).includes('size:2')),
    );
  }
}

/** The slot of a key. */
export async function slotOf(port: number, key: string): Promise<number> {
  return withClient(port, (client) => client.cluster('KEYSLOT', key));
}

/** A key with this prefix in one of these slots. */
export async function keyWithin(
  port: number,
  name: string,
  from: number,
  to: number,
): Promise<string> {
  return withClient(port, async (client) => {
    for (let tried = 0; ; tried += KEYS_AT_ONCE) {
      const names = Array.from({ length: KEYS_AT_ONCE }, (_, n) => `${name}-${tried + n}`);
      const slots = await Promise.all(names.map((key) => client.cluster('KEYSLOT', key)));
      const found = names.find((_, n) => Number(slots[n]) >= from && Number(slots[n]) <= to);
      if (found !== undefined) return found;
    }
  });
}

const clusterInfo = async (client: Redis) => String(await client.cluster('INFO'));

/** A node that has just started takes its slots only after a moment. */
async function stateIsOk(client: Redis): Promise<void> {
  await eventually('the cluster is ok', async () =>
    (await clusterInfo(client)).includes('cluster_state:ok'),
  );
}

async function withClient<Result>(
  port: number,
  use: (client: Redis) => Promise<Result>,
): Promise<Result> {
  const client = new Redis(port, '127.0.0.1', { protocol: 2 });
  try {
    return await use(client);
  } finally {
    client.disconnect();
  }
}
