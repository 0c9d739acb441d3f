/** Redis behind a Unix socket. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { startRedis } from '../../scripts/lib/redis-server.mjs';
import { redisCli } from '../../src/redis/advice.js';
import { addressOf } from '../../src/redis/client.js';
import { tempFolder } from '../support/cli.js';
import { failureAt, openStateOf, settingsOf, whyNot } from '../support/connecting.js';
import { withRedis } from '../support/with-redis.js';

describe('a Unix socket', () => {
  it('leads to Redis, with a user, a password and a database, for the keys and the state', async () => {
    await using folder = await tempFolder({});
    const path = join(folder.path, 'redis.sock');
    await using redis = await startRedis({ args: ['--unixsocket', path], password: 'p/w' });
    const settings = await settingsOf({ redis: { url: `unix://:p%2Fw@${path}?db=3` } });
    expect(await failureAt(settings)).toBeNull();
    expect(settings.redis.databases).toEqual([3]);
    await using opened = openStateOf(settings);
    await opened.state.ready(AbortSignal.timeout(20_000));
    expect(await withRedis({ url: `${redis.url}/3` }, (client) => client.dbsize())).toBe(1);
    const wrong = await whyNot({ url: `unix://${path}` });
    expect(wrong).toContain(`Redis at unix://${path} requires a password`);
  });

  it('that does not exist, or has no listener, causes retries, and the error names the action', async () => {
    await using folder = await tempFolder({});
    const path = join(folder.path, 'redis.sock');
    const absent = await failureAt(await settingsOf({ redis: { url: `unix://${path}` } }));
    expect(absent?.message).toMatch(
      /no such socket \(ENOENT\)\. Set unixsocket .*mount the directory/,
    );
    expect(absent?.retryable).toBe(true);
    await writeFile(path, '');
    const stale = await failureAt(await settingsOf({ redis: { url: `unix://${path}` } }));
    expect(stale?.message).toMatch(/no server listens on this socket \(ECONNREFUSED\)/);
  });

  it('appears in messages and commands by its path', async () => {
    const { redis } = await settingsOf({ redis: { url: 'unix:///run/my redis/redis.sock' } });
    expect(addressOf(redis)).toBe('unix:///run/my redis/redis.sock');
    expect(redisCli(redis)).toBe("redis-cli -s '/run/my redis/redis.sock'");
  });
});
