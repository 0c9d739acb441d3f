/** Sentinels with an ACL, with a password that changes, and with names of hosts. */
import { readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { startRedis } from '../../scripts/lib/redis-server.mjs';
import { tempFolder } from '../support/cli.js';
import { eventually } from '../support/eventually.js';
import { RelayProcess, simpleFile } from '../support/relay-process.js';
import { MASTER, type RunningSentinel, startSentinel } from '../support/sentinel.js';
import { TestReceiver } from '../support/test-receiver.js';
import { withRedis } from '../support/with-redis.js';

const PAGE = readFileSync(
  fileURLToPath(new URL('../../docs/operations/redis.md', import.meta.url)),
  'utf8',
);

/** The rules that the documentation gives for the relay's user of the sentinels. */
function documentedRules(): string {
  const [, rules = ''] = /If the sentinels have an ACL[^`]*`([^`]+)`/.exec(PAGE) ?? [];
  expect(rules).toContain('+sentinel|');
  return rules;
}

/** What the sentinel lists of the connections of the user `relay`. */
async function connectionsTo({ client }: RunningSentinel): Promise<readonly string[]> {
  const list = String(await client.client('LIST'));
  return list.split('\n').filter((line) => line.includes(' user=relay '));
}

const fileOf = (sentinel: object, url: string) => ({
  ...simpleFile('', url),
  redis: { sentinel: { master: MASTER, ...sentinel } },
});

describe.concurrent('a relay follows sentinels', () => {
  it('as a user with exactly the documented permissions', async () => {
    await using server = await startRedis();
    await using sentinel = await startSentinel(MASTER, server.port, {
      lines: [`user relay on >of-relay resetchannels -@all ${documentedRules()}`],
    });
    await using receiver = await TestReceiver.start();
    const nodes = [`127.0.0.1:${sentinel.port}`];
    const login = { username: 'relay', password: 'of-relay' };
    await using relay = await RelayProcess.start(fileOf({ nodes, ...login }, receiver.url));
    await withRedis(server, (redis) => redis.set('order:1', '', 'PX', 200));
    await eventually('the webhook', () => receiver.keys.includes('order:1'));
    const connections = await connectionsTo(sentinel);
    // It has subscribed to +switch-master.
    expect(connections.some((line) => line.includes(' sub=1 '))).toBe(true);
    const log = (await sentinel.client.call('ACL', 'LOG')) as unknown[][];
    const denied = log.map((entry) => entry[entry.indexOf('object') + 1]);
    expect(denied.filter((name) => name !== 'client|setname')).toEqual([]);
    expect(relay.logs('sentinels')).toEqual([]);
  });

  it('across a rotation of their password, which it reads again from its file', async () => {
    await using server = await startRedis();
    await using sentinel = await startSentinel(MASTER, server.port, {
      lines: ['user relay on >first allchannels +@all'],
    });
    await using secrets = await tempFolder({ password: 'first\n' });
    await using receiver = await TestReceiver.start();
    const login = { username: 'relay', password_file: `${secrets.path}/password` };
    const file = fileOf({ nodes: [`127.0.0.1:${sentinel.port}`], ...login }, receiver.url);
    await using relay = await RelayProcess.start(file);
    await sentinel.client.call('ACL', 'SETUSER', 'relay', 'resetpass', '>second');
    await sentinel.client.client('KILL', 'USER', 'relay');
    await eventually('the refusal', () => relay.logs('sentinels').length > 0);
    expect(await connectionsTo(sentinel)).toEqual([]);
    // The relay works with the primary that it knows.
    await withRedis(server, (redis) => redis.set('order:1', '', 'PX', 200));
    await eventually('the webhook', () => receiver.keys.includes('order:1'));
    await writeFile(`${secrets.path}/password`, 'second\n');
    await eventually('its connections', async () => (await connectionsTo(sentinel)).length === 2);
    await eventually('the end', () => relay.logs('sentinels').at(-1)?.level === 'info');
    await relay.ready();
    expect(relay.stdout + relay.stderr).not.toMatch(/first|second/);
  });

  it('that report names of hosts, and the names that replicas announce', async () => {
    const bind = ['--bind', '127.0.0.1', '-::1'];
    await using primary = await startRedis({ args: bind });
    await using replica = await startRedis({
      args: [...bind, '--replica-announce-ip', 'localhost'],
    });
    await withRedis(replica, (redis) => redis.replicaof('localhost', primary.port));
    await using sentinel = await startSentinel(MASTER, primary.port, { host: 'localhost' });
    await using receiver = await TestReceiver.start();
    const nodes = [`localhost:${sentinel.port}`];
    await using relay = await RelayProcess.start(fileOf({ nodes }, receiver.url));
    expect((await relay.logged('listening')).redis).toBe(
      `localhost:${primary.port} (the primary of mymaster)`,
    );
    await eventually(
      'a failover',
      () =>
        sentinel.client.call('SENTINEL', 'FAILOVER', MASTER).then(
          () => true,
          () => false,
        ),
      30_000,
    );
    expect(await relay.logged('primary_moved')).toMatchObject({
      from: `localhost:${primary.port}`,
      to: `localhost:${replica.port}`,
    });
    await relay.ready();
    await withRedis(replica, (client) => client.set('order:1', '', 'PX', 200));
    await eventually('the webhook', () => receiver.keys.includes('order:1'));
  });
});
