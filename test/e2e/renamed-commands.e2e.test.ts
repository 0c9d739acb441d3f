/** Servers without commands that the relay uses, or with renamed ones. */
import { Redis } from 'ioredis';
import { describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { type RunningRedis, startRedis } from '../../scripts/lib/redis-server.mjs';
import { cli, tempFolder } from '../support/cli.js';
import { eventually } from '../support/eventually.js';
import { type RelayFile, RelayProcess, simpleFile } from '../support/relay-process.js';
import { TestReceiver } from '../support/test-receiver.js';
import { withRedis } from '../support/with-redis.js';

const WELL = ['--appendonly', 'yes', '--notify-keyspace-events', 'Exge'];

const without = (...names: string[]) => names.flatMap((name) => ['--rename-command', name, '']);

async function command(words: string[], file: RelayFile) {
  const whole = { ...file, admin: { listen: '127.0.0.1:0' } };
  await using folder = await tempFolder({ 'relay.yaml': stringify(whole) });
  return await cli(words, { cwd: folder.path });
}

/** The findings of the doctor on a subject. */
function about(stdout: string, subject: string): string {
  const [found] = stdout.split(/^(?=\[)/m).filter((part) => part.startsWith(`${subject} `, 4));
  return found?.replaceAll(/ {2,}/g, ' ') ?? `nothing about ${subject}:\n${stdout}`;
}

async function delivers(redis: RunningRedis, receiver: TestReceiver): Promise<void> {
  // Its ready check would send INFO.
  const client = new Redis(redis.url, { protocol: 2, enableReadyCheck: false });
  await client.set('order:7', '', 'PX', 50);
  client.disconnect();
  await eventually('the webhook', () => receiver.keys.includes('order:7'));
}

const warningsOf = (relay: RelayProcess) =>
  relay
    .logs()
    .filter(({ level }) => level !== 'info')
    .map(({ event }) => event);

describe.concurrent('a server without', () => {
  it('ROLE, like Redis Cloud: INFO identifies a primary and a replica', async () => {
    await using redis = await startRedis({ args: [...WELL, ...without('ROLE')] });
    await using receiver = await TestReceiver.start();
    const file = simpleFile(redis.url, receiver.url);
    await using relay = await RelayProcess.start(file);
    await delivers(redis, receiver);
    expect(warningsOf(relay)).toEqual([]);
    const { code, stdout } = await command(['doctor'], file);
    expect(about(stdout, 'role')).toContain('[+] role primary');
    expect(about(stdout, 'permissions')).toContain('[+] permissions');
    expect(code).toBe(0);
    const replicaOf = ['--replicaof', '127.0.0.1', String(redis.port)];
    await using replica = await startRedis({ args: [...WELL, ...without('ROLE'), ...replicaOf] });
    const refused = simpleFile(replica.url, receiver.url);
    for (const words of [['run'], ['doctor']]) {
      const ended = await command(words, refused);
      expect(ended.code).toBe(1);
      expect(ended.stdout + ended.stderr).toContain(
        `is a replica of 127.0.0.1:${redis.port}; replicas do not publish expirations`,
      );
    }
  });

  it('all commands about the server: the relay delivers, and logs unverified facts', async () => {
    const names = ['ROLE', 'INFO', 'HELLO', 'CONFIG', 'CLIENT', 'CLUSTER', 'COMMAND'];
    const more = ['ACL', 'PUBSUB', 'WAIT', 'OBJECT', 'MEMORY', 'DEBUG'];
    await using redis = await startRedis({ args: [...WELL, ...without(...names, ...more)] });
    await using receiver = await TestReceiver.start();
    const file = simpleFile(redis.url, receiver.url);
    await using relay = await RelayProcess.start(file);
    await delivers(redis, receiver);
    expect(warningsOf(relay)).toEqual(['server_role']);
    const { code, stdout } = await command(['doctor'], file);
    expect(about(stdout, 'role')).toContain('[!] role unknown');
    expect(about(stdout, 'notifications')).toContain(
      '[!] notifications notify-keyspace-events cannot be read',
    );
    for (const subject of ['eviction', 'state eviction', 'state persistence']) {
      expect(about(stdout, subject)).toContain(`[i] ${subject} unknown`);
    }
    expect(about(stdout, 'lateness')).toContain('[i] lateness unknown');
    expect(code).toBe(0);
  });

  it('PEXPIRETIME, like Redis 6.2: the relay reads deadlines by PTTL, and the doctor requires it', async () => {
    await using redis = await startRedis({ args: [...WELL, ...without('PEXPIRETIME')] });
    await withRedis(redis, async (admin) => {
      await admin.call('ACL', 'SETUSER', 'relay', 'on', '>pw', '~*', '&*', '+@all', '-pttl');
    });
    await using receiver = await TestReceiver.start();
    const url = `redis://relay:pw@127.0.0.1:${redis.port}`;
    const lacking = await command(['doctor'], simpleFile(url, receiver.url));
    expect(about(lacking.stdout, 'permissions')).toContain('user relay lacks +pttl\n');
    expect(about(lacking.stdout, 'commands')).toContain('nothing about commands');
    expect(lacking.code).toBe(1);
    const file = simpleFile(redis.url, receiver.url);
    await using relay = await RelayProcess.start(file);
    await delivers(redis, receiver);
    expect(warningsOf(relay)).toEqual([]);
    expect((await command(['doctor'], file)).code).toBe(0);
  });

  it('TIME, which does not hold the state: the relay uses its own clock, and logs it', async () => {
    await using redis = await startRedis({ args: [...WELL, ...without('TIME')] });
    await using state = await startRedis({ args: WELL });
    await using receiver = await TestReceiver.start();
    const file = simpleFile(redis.url, receiver.url, { state: { url: state.url } });
    await using relay = await RelayProcess.start(file);
    await delivers(redis, receiver);
    expect(warningsOf(relay)).toEqual(['server_clock']);
    const { code, stdout } = await command(['doctor'], file);
    expect(about(stdout, 'clock')).toContain('[!] clock unknown, as TIME cannot be run');
    expect(code).toBe(0);
  });

  it.each(['TIME', 'EVAL', 'HSET'])(
    '%s, which holds the state: ends the start or is not ready, and the doctor names it',
    async (name) => {
      await using redis = await startRedis({ args: [...WELL, ...without(name)] });
      const file = simpleFile(redis.url, redis.url.replace('redis', 'http'));
      const { code, stdout, stderr } = await command(['doctor'], file);
      expect(about(stdout, 'commands')).toContain(`the server lacks required commands: ${name}`);
      expect(stderr).toBe('');
      expect(code).toBe(1);
      if (name === 'HSET') return;
      const run = await command(['run'], file);
      expect(run.code).toBe(1);
      expect(run.stdout).toContain('does not support a required command');
    },
  );
});
