import { Redis } from 'ioredis';
import { describe, expect, it, onTestFinished } from 'vitest';
import { type RunningRedis, startRedis } from '../../scripts/lib/redis-server.mjs';
import { RedisChangedError, RedisIsReplicaError } from '../../src/model/errors.js';
import { Primary } from '../../src/source/primary.js';
import { SLOTS, serveSlots, startClusterNode } from '../support/cluster-node.js';
import { eventually } from '../support/eventually.js';

const OWN_KEY = '{expiry-relay}:1:marker';

async function aServer(...args: readonly string[]): Promise<RunningRedis> {
  // A replica is served at once.
  const server = await startRedis({ args: ['--repl-diskless-sync-delay', '0', ...args] });
  onTestFinished(() => server.stop());
  return server;
}

function connectTo({ url }: { readonly url: string }): Redis {
  const redis = new Redis(url, { protocol: 2, enableReadyCheck: false });
  onTestFinished(() => redis.disconnect());
  return redis;
}

function partsOf(redis: Redis, port: number) {
  const databases = [0];
  const settings = {
    host: '127.0.0.1',
    port,
    path: null,
    sentinel: null,
    cluster: null,
    tls: null,
    files: null,
    username: null,
    password: null,
  };
  const more = { databases, notifications: 'manage' as const };
  return { redis, settings: { ...settings, ...more }, ownKey: () => OWN_KEY };
}

/** The primary at a server, and the connection of another client. */
async function aPrimary(...args: readonly string[]) {
  const server = await aServer(...args);
  const redis = connectTo(server);
  await redis.set(OWN_KEY, '0');
  const primary = await Primary.open(partsOf(redis, server.port));
  return { server, primary, other: connectTo(server) };
}

const isConnected = (redis: Redis) => async () =>
  (await redis.info('replication')).includes('master_link_status:up');

const HIDDEN = {
  INFO: ['--rename-command', 'INFO', ''],
  'INFO and ROLE': ['--rename-command', 'INFO', '', '--rename-command', 'ROLE', ''],
};

describe('a primary', () => {
  it('stays one while nothing changes', async () => {
    const { primary } = await aPrimary();
    await primary.check();
    await primary.check();
  });

  it('stays one when its first replica connects, which changes its id', async () => {
    const { primary, server, other } = await aPrimary();
    const idOf = async () => /master_replid:(\w+)/.exec(await other.info('replication'))?.[1];
    const before = await idOf();
    const replica = connectTo(await aServer('--replicaof', '127.0.0.1', String(server.port)));
    await eventually('its replica', isConnected(replica));
    expect(await idOf()).not.toBe(before);
    await primary.check();
  });

  it('is lost once it is a replica, and names the new primary', async () => {
    const { primary, other } = await aPrimary();
    const heir = await aServer();
    await other.replicaof('127.0.0.1', heir.port);
    const check = primary.check();
    await expect(check).rejects.toThrow(RedisChangedError);
    await expect(check).rejects.toThrow(`is a replica of 127.0.0.1:${heir.port} now`);
    expect(await primary.lost).toBeInstanceOf(RedisChangedError);
  });

  it('is lost even if it is the primary again: it was a replica for a while', async () => {
    const { primary, other } = await aPrimary();
    const heir = await aServer();
    await other.replicaof('127.0.0.1', heir.port);
    await eventually('it follows', isConnected(other));
    await other.replicaof('NO', 'ONE');
    await expect(primary.check()).rejects.toThrow('was a replica for a while');
  });

  it.each(Object.entries(HIDDEN))('is lost where %s is not permitted', async (_, args) => {
    const { primary, other } = await aPrimary(...args);
    await primary.check();
    await other.replicaof('127.0.0.1', (await aServer()).port);
    await expect(primary.check()).rejects.toThrow('was demoted');
  });

  it('is assumed where the user may neither read the role nor write', async () => {
    const { server, other } = await aPrimary();
    await other.acl('SETUSER', 'reader', 'on', '>pw', '~*', '+exists', '+select', '+ping');
    const reader = connectTo({ url: `redis://reader:pw@127.0.0.1:${server.port}` });
    const primary = await Primary.open(partsOf(reader, server.port));
    await primary.check();
  });

  it('is not accepted at a replica', async () => {
    const server = await aServer();
    const replica = await aServer('--replicaof', '127.0.0.1', String(server.port));
    const found = Primary.open(partsOf(connectTo(replica), replica.port));
    await expect(found).rejects.toThrow(RedisIsReplicaError);
  });

  it('does not count as lost while a script of another client keeps the server busy', async () => {
    const { primary, server, other } = await aPrimary('--busy-reply-threshold', '1');
    const looping = other.eval('while true do end', 0).catch(() => undefined);
    let outcome = 'the server stays the primary';
    void primary.lost.then(() => {
      outcome = 'lost';
    });
    await eventually('it is busy', () =>
      primary.check().then(
        () => false,
        (error: Error) => error.message.includes('BUSY'),
      ),
    );
    await connectTo(server).script('KILL');
    await looping;
    await primary.check();
    expect(outcome).toBe('the server stays the primary');
  });
});

describe('a node of a cluster', () => {
  it("causes retries when no node serves the slot of the relay's own keys any more", async () => {
    const node = await startClusterNode();
    onTestFinished(() => node.stop());
    await serveSlots(node.port, 0, SLOTS - 1);
    const redis = connectTo(node);
    const parts = partsOf(redis, node.port);
    const primary = await Primary.open(parts);
    await primary.check();
    await redis.cluster('DELSLOTS', await redis.cluster('KEYSLOT', OWN_KEY));
    await expect(primary.check()).rejects.toThrow('CLUSTERDOWN');
  });
});
