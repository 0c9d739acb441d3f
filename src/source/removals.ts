/** Whether the server publishes `expired` for keys that commands remove. */
import type { Redis } from 'ioredis';

/** Where it began; docs/operating.md has the table. */
const VALKEY_MAJOR = 8;
const VALKEY_MINOR = 1;

/** A server that does not answer INFO is taken for one that does not. */
export async function publishesRemovals(redis: Redis): Promise<boolean> {
  const info = await redis.info('server').catch(() => '');
  const version = /^valkey_version:(\d+)\.(\d+)/m.exec(info);
  if (version === null) return false;
  const [major = 0, minor = 0] = version.slice(1).map(Number);
  return major > VALKEY_MAJOR || (major === VALKEY_MAJOR && minor >= VALKEY_MINOR);
}
