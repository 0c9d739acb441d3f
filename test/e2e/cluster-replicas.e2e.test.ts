/** The setting of a cluster's replicas, which publish as soon as they are primaries. */
import type { Redis } from 'ioredis';
import { describe, expect, it } from 'vitest';
import { type RunningCluster, startCluster } from '../support/cluster.js';
import { eventually } from '../support/eventually.js';
import { RelayProcess, simpleFile } from '../support/relay-process.js';
import { TestReceiver } from '../support/test-receiver.js';

const NOTIFICATIONS = 'notify-keyspace-events';

async function settingOf(client: Redis): Promise<string> {
  const [, setting = ''] = (await client.config('GET', NOTIFICATIONS)) as string[];
  return setting;
}

function fileOf({ nodes }: RunningCluster, receiver: TestReceiver, notifications: string) {
  const redis = { cluster: { nodes: [nodes[0]] }, notifications };
  return { ...simpleFile('', receiver.url), redis };
}

describe.concurrent('the replicas of a cluster', () => {
  it('get the flags that they lack, and keep the others', async () => {
    await using cluster = await startCluster({ replicas: true });
    await using receiver = await TestReceiver.start();
    const [first, ...others] = cluster.replicas.map(({ client }) => client);
    await first?.config('SET', NOTIFICATIONS, 'Kl');
    await using relay = await RelayProcess.start(fileOf(cluster, receiver, 'manage'));
    await eventually('all have them', async () => {
      const settings = await Promise.all(others.map(settingOf));
      return settings.every((setting) => /^(?=.*E)(?=.*x)(?=.*g)(?=.*e)/.test(setting));
    });
    if (first === undefined) throw new Error('expected a replica');
    await eventually('the first one, too', async () => (await settingOf(first)).includes('x'));
    expect(await settingOf(first)).toMatch(/^(?=.*K)(?=.*l)(?=.*E)(?=.*g)/);
    // Not persisted: a restart takes them away.
    await first.config('SET', NOTIFICATIONS, '');
    await eventually('it is set again', async () => (await settingOf(first)).includes('x'));
    expect(relay.logs('notifications_changed').length).toBeGreaterThanOrEqual(7);
    expect(relay.logs('replica_notifications_off')).toEqual([]);
  });

  it('that lack them are reported with `notifications: require`, and not changed', async () => {
    await using cluster = await startCluster({ replicas: true });
    await using receiver = await TestReceiver.start();
    for (const { client } of cluster.primaries) await client.config('SET', NOTIFICATIONS, 'Exge');
    const [ready, ...mute] = cluster.replicas;
    await ready?.client.config('SET', NOTIFICATIONS, 'Exge');
    await using relay = await RelayProcess.start(fileOf(cluster, receiver, 'require'));
    const reports = () => relay.logs('replica_notifications_off');
    await eventually('both are reported', () => reports().length === 2);
    expect(
      reports()
        .map(({ redis }) => redis)
        .sort(),
    ).toEqual(mute.map(({ port }) => `127.0.0.1:${port}`).sort());
    for (const { client } of mute) expect(await settingOf(client)).toBe('');
  });
});
