/** `doctor` examines every primary of a cluster, and whether its replicas would publish as primaries. */
import { describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { cli, tempFolder } from '../support/cli.js';
import { startCluster } from '../support/cluster.js';
import { simpleFile } from '../support/relay-process.js';
import { TestReceiver } from '../support/test-receiver.js';

describe('doctor of a cluster', () => {
  it('names each primary and replica that lacks something, and says once what holds for all', async () => {
    await using cluster = await startCluster({ replicas: true });
    await using receiver = await TestReceiver.start();
    const [first, second] = cluster.primaries;
    const [ready, ...mute] = cluster.replicas;
    for (const node of [first, second, ready]) {
      await node?.client.config('SET', 'notify-keyspace-events', 'Exge');
    }
    const [, , third] = cluster.primaries;
    await third?.client.config('SET', 'maxmemory-policy', 'allkeys-lru');
    await third?.client.config('SET', 'maxmemory', '1gb');
    const redis = { cluster: { nodes: [cluster.nodes[0]] }, notifications: 'require' };
    const file = { ...simpleFile('', receiver.url), redis };
    await using folder = await tempFolder({ 'relay.yaml': stringify(file) });
    const { code, stdout } = await cli(['doctor', '--json'], { cwd: folder.path });
    expect(code).toBe(1);
    const { findings } = JSON.parse(stdout) as {
      findings: { level: string; subject: string; text: string }[];
    };
    const about = (subject: string) =>
      findings.flatMap((one) => (one.subject === subject ? `${one.level} ${one.text}` : []));
    expect(about('cluster')).toEqual(['ok 3 primaries, 3 replicas; all 16384 slots are served']);
    const at = (port = 0) => `127.0.0.1:${port}`;
    expect(about('redis')).toEqual(
      cluster.primaries.map(({ port }) => expect.stringContaining(`${at(port)} responds`)),
    );
    expect(about('role')).toEqual(['ok primary']);
    const lacks = expect.stringMatching(
      new RegExp(`^problem .*${at(third?.port)} does not publish`),
    );
    expect(about('notifications')).toEqual([
      ...[first, second].map((node) => expect.stringContaining(`ok ${at(node?.port)}: `)),
      lacks,
    ]);
    expect(about('eviction').filter((text) => !text.startsWith('ok'))).toEqual([
      expect.stringContaining(at(third?.port)),
    ]);
    expect(about('replicas').sort()).toEqual(
      mute
        .map(({ port }) => `warning replica ${at(port)}: `)
        .sort()
        .map((text) => expect.stringContaining(text)),
    );
    expect(about('permissions')).toEqual(['ok user default has all required permissions']);
  });
});
