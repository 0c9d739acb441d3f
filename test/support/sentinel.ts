/** A real Sentinel that watches one primary. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { freePort } from '../../scripts/lib/free-port.mjs';
import { findRedisServer } from '../../scripts/lib/redis-server.mjs';
import { tempFolder } from './cli.js';
import { eventually } from './eventually.js';
import { withRedis } from './with-redis.js';

export async function startSentinel(
  name: string,
  primaryPort: number,
): Promise<AsyncDisposable & { readonly port: number; readonly url: string }> {
  const server = findRedisServer();
  if (server?.kind !== 'binary') throw new Error('expected a redis-server on this machine');
  const port = await freePort();
  const folder = await tempFolder({});
  const file = join(folder.path, 'sentinel.conf');
  const lines = [`port ${port}`, 'bind 127.0.0.1', `dir ${folder.path}`];
  await writeFile(
    file,
    [...lines, `sentinel monitor ${name} 127.0.0.1 ${primaryPort} 1`].join('\n'),
  );
  const sentinel = spawn(server.path, [file, '--sentinel'], { stdio: 'ignore' });
  const exited = once(sentinel, 'exit');
  const url = `redis://127.0.0.1:${port}`;
  await withRedis({ url }, (redis) => {
    // Nobody listens yet.
    redis.on('error', () => undefined);
    return eventually('the Sentinel', () => redis.ping().catch(() => null));
  });
  return {
    port,
    url,
    [Symbol.asyncDispose]: async () => {
      sentinel.kill('SIGKILL');
      await exited;
      await folder[Symbol.asyncDispose]();
    },
  };
}
