import { existsSync } from 'node:fs';
import { Redis } from 'ioredis';
import { describe, expect, it } from 'vitest';
import { startRedis } from '../../../scripts/lib/redis-server.mjs';

describe('a Redis server for tests', () => {
  it('answers as soon as it is started, on its own port and without files', async () => {
    await using server = await startRedis();
    const redis = new Redis(server.url);
    expect(await redis.ping()).toBe('PONG');
    expect(await redis.config('GET', 'save')).toEqual(['save', '']);
    redis.disconnect();
  });

  it('requires the given password', async () => {
    await using server = await startRedis({ password: 'a b/"c' });
    const stranger = new Redis(server.port, '127.0.0.1', { enableReadyCheck: false });
    stranger.on('error', () => {});
    await expect(stranger.ping()).rejects.toThrow('NOAUTH');
    stranger.disconnect();
    const redis = new Redis(server.url);
    expect(await redis.ping()).toBe('PONG');
    redis.disconnect();
  });

  it('treats a missing password as an answer', async () => {
    await using server = await startRedis({ args: ['--requirepass', 'unknown to startRedis'] });
    expect(server.pid).toBeGreaterThan(0);
  });

  it('keeps port, directory and data across a crash and a restart with an append-only file', async () => {
    await using server = await startRedis({
      args: ['--appendonly', 'yes', '--appendfsync', 'always'],
    });
    const before = { port: server.port, dir: server.dir, pid: server.pid };
    const redis = new Redis(server.url);
    redis.on('error', () => {});
    await redis.set('kept', 'yes');
    redis.disconnect();
    await server.kill('SIGKILL');
    await server.restart();
    expect({ port: server.port, dir: server.dir }).toEqual({ port: before.port, dir: before.dir });
    expect(server.pid).not.toBe(before.pid);
    const again = new Redis(server.url);
    expect(await again.get('kept')).toBe('yes');
    again.disconnect();
  });

  it('removes its temporary directory when it is stopped, twice or once', async () => {
    const server = await startRedis();
    expect(existsSync(server.dir)).toBe(true);
    await server.stop();
    await server.stop();
    expect(existsSync(server.dir)).toBe(false);
  });

  it('reports the output of Redis when Redis refuses to start', async () => {
    await expect(startRedis({ args: ['--no-such-directive', '1'] })).rejects.toThrow(
      /but it ended; its last lines:\s.*no-such-directive/s,
    );
  });

  it('refuses a port that another server uses, even if that one answers', async () => {
    await using first = await startRedis();
    await expect(startRedis({ port: first.port })).rejects.toThrow(/already in use/i);
  });
});
