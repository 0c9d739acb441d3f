/** Properties of servers that permit only some commands. */
import { Redis } from 'ioredis';
import { describe, expect, it, onTestFinished } from 'vitest';
import { startRedis } from '../../scripts/lib/redis-server.mjs';
import { PropertyReader } from '../../src/server/properties.js';

const without = (...names: string[]) => names.flatMap((name) => ['--rename-command', name, '']);

async function serverWith(args: readonly string[]) {
  const server = await startRedis({ args });
  onTestFinished(() => server.stop());
  const redis = new Redis(server.url, { protocol: 2, enableReadyCheck: false });
  redis.on('error', () => undefined);
  onTestFinished(() => redis.disconnect());
  await redis.ping();
  return { server, redis, reader: new PropertyReader(redis) };
}

describe('the properties of a server', () => {
  it.each([[[]], [['ROLE']], [['ROLE', 'INFO']], [['ROLE', 'HELLO']]])(
    'include its role without %j',
    async (names) => {
      const { server, reader } = await serverWith(without(...names));
      expect(await reader.read()).toMatchObject({ role: 'primary', primary: null });
      const { reader: replica } = await serverWith([
        ...without(...names),
        ...['--replicaof', '127.0.0.1', String(server.port)],
      ]);
      const found = await replica.read();
      expect(found.role).toBe('replica');
      if (!names.some((name) => name === 'INFO'))
        expect(found.primary).toBe(`127.0.0.1:${server.port}`);
    },
  );

  it('are unknown where every command is denied, and none is repeated', async () => {
    const names = ['ROLE', 'INFO', 'HELLO', 'CONFIG', 'CLUSTER'];
    const { redis, reader } = await serverWith([...without(...names)]);
    const found = await reader.read();
    expect(found).toMatchObject({ role: null, version: null, info: null, isCluster: false });
    expect(found.settings.size).toBe(0);
    const given: string[] = [];
    const monitor = await redis.duplicate().monitor();
    monitor.on('error', () => undefined);
    onTestFinished(() => monitor.disconnect());
    monitor.on('monitor', (_, [name = '']: string[]) => given.push(name));
    expect(await reader.read()).toEqual(found);
    await redis.echo('done');
    await expect.poll(() => given).toContain('echo');
    expect(given).toEqual(['echo']);
  });

  it('include the reply of CONFIG GET and the run id of the server', async () => {
    const { reader } = await serverWith(['--timeout', '30', '--notify-keyspace-events', 'Ex']);
    const { settings, runId, version } = await reader.read();
    expect(settings.get('timeout')).toBe('30');
    expect(settings.get('client-output-buffer-limit')).toContain('pubsub 33554432 8388608 60');
    expect([...(settings.get('notify-keyspace-events') ?? '')].sort()).toEqual(['E', 'x']);
    expect(runId).toMatch(/^[0-9a-f]{40}$/);
    expect(version).toMatch(/^\d+\.\d+/);
  });
});
