/** The watched primary becomes a replica while every connection to it stays open. */
import { Redis } from 'ioredis';
import { describe, expect, it } from 'vitest';
import { type RunningRedis, startRedis } from '../../scripts/lib/redis-server.mjs';
import { SLOTS, serveSlots, startClusterNode } from '../support/cluster-node.js';
import { eventually } from '../support/eventually.js';
import { RelayProcess, simpleFile } from '../support/relay-process.js';
import { TcpProxy } from '../support/tcp-proxy.js';
import { expectEach, TestReceiver } from '../support/test-receiver.js';

const KEYS = 100;

/** Some are due before the failover, most of them after it. */
const FIRST_DUE_MS = 800;
const DUE_EVERY_MS = 60;

/** Enough to delay the active expire cycle of Redis: due keys stay until they are read. */
const OTHERS = 20_000;

type OnTestFinished = (end: () => Promise<void> | void) => void;

interface Pair {
  readonly primary: RunningRedis;
  readonly replica: RunningRedis;
}

const SYNC_AT_ONCE = ['--repl-diskless-sync-delay', '0'];

function connectTo({ port }: RunningRedis, onTestFinished: OnTestFinished): Redis {
  const redis = new Redis(port, '127.0.0.1', { protocol: 2 });
  onTestFinished(() => redis.disconnect());
  return redis;
}

const isInSync = (redis: Redis) => async () =>
  (await redis.info('replication')).includes('master_link_status:up');

async function startPair(onTestFinished: OnTestFinished): Promise<Pair> {
  const primary = await startRedis({ args: SYNC_AT_ONCE });
  onTestFinished(() => primary.stop());
  const replica = await startRedis({
    args: [...SYNC_AT_ONCE, '--replicaof', '127.0.0.1', String(primary.port)],
  });
  onTestFinished(() => replica.stop());
  await eventually('it follows', isInSync(connectTo(replica, onTestFinished)));
  return { primary, replica };
}

async function startClusterPair(onTestFinished: OnTestFinished): Promise<Pair> {
  const [primary, replica] = await Promise.all([startClusterNode(), startClusterNode()]);
  for (const { stop } of [primary, replica]) onTestFinished(() => stop());
  await serveSlots(primary.port, 0, SLOTS - 1);
  const [one, other] = [primary, replica].map((node) => connectTo(node, onTestFinished)) as [
    Redis,
    Redis,
  ];
  for (const redis of [one, other]) await redis.config('SET', 'repl-diskless-sync-delay', '0');
  await one.cluster('MEET', '127.0.0.1', replica.port);
  const id = await one.cluster('MYID');
  await eventually('it knows the primary', () =>
    other.cluster('REPLICATE', id).then(
      () => true,
      () => false,
    ),
  );
  await eventually('it follows', isInSync(other));
  await eventually('the primary knows it', async () =>
    String(await one.cluster('NODES')).includes(`slave ${id}`),
  );
  return { primary, replica };
}

const FAILOVERS: Readonly<
  Record<
    string,
    {
      readonly start: (onTestFinished: OnTestFinished) => Promise<Pair>;
      readonly failOver: (primary: Redis, replica: Redis, pair: Pair) => Promise<unknown>;
      /** For a moment both servers are primaries, and what is written to the old one is lost. */
      readonly losesWrites?: boolean;
    }
  >
> = {
  FAILOVER: { start: startPair, failOver: (primary) => primary.call('FAILOVER') },
  REPLICAOF: {
    start: startPair,
    failOver: async (primary, replica, pair) => {
      await replica.replicaof('NO', 'ONE');
      await primary.replicaof('127.0.0.1', pair.replica.port);
    },
    losesWrites: true,
  },
  'CLUSTER FAILOVER': {
    start: startClusterPair,
    failOver: (_, replica) => replica.cluster('FAILOVER'),
  },
};

describe.concurrent('after a failover that closes no connection', () => {
  it.for(Object.entries(FAILOVERS))(
    'every key is delivered under one id, when the address follows: %s',
    async ([, { start, failOver, losesWrites }], { onTestFinished }) => {
      const pair = await start(onTestFinished);
      const [primary, replica] = [pair.primary, pair.replica].map((server) =>
        connectTo(server, onTestFinished),
      ) as [Redis, Redis];
      const proxy = await TcpProxy.start(pair.primary.port);
      onTestFinished(() => proxy[Symbol.asyncDispose]());
      const receiver = await TestReceiver.start();
      onTestFinished(() => receiver[Symbol.asyncDispose]());
      const file = simpleFile(`redis://127.0.0.1:${proxy.port}`, receiver.url, {
        route: { match: 'order:*' },
      });
      const relays = [await RelayProcess.start(file), await RelayProcess.start(file)];
      for (const relay of relays) onTestFinished(() => relay[Symbol.asyncDispose]());
      const pipeline = primary.pipeline();
      for (let n = 0; n < KEYS; n += 1) {
        pipeline.set(`order:${n}`, '', 'PX', FIRST_DUE_MS + n * DUE_EVERY_MS);
      }
      for (let n = 0; n < OTHERS; n += 1) pipeline.set(`session:${n}`, '', 'EX', 3_600);
      await pipeline.exec();
      await eventually('the first webhooks', () => receiver.requests.length > 3);
      proxy.leadTo(pair.replica.port);
      await failOver(primary, replica, pair);
      await eventually('it is the primary', async () => (await replica.role())[0] === 'master');
      await eventually('all webhooks', () => new Set(receiver.keys).size === KEYS, 30_000);
      expectEach(receiver, KEYS, losesWrites);
      for (const relay of relays) {
        await relay.ready();
        const { error } = await relay.logged('subscription_lost');
        expect(error).toMatch(/is a replica|was demoted|serves the slot|rejects writes/);
      }
    },
  );
});
