import { Redis } from 'ioredis';

/** Runs commands on a connection of its own. */
export async function withRedis<Result>(
  { url }: { readonly url: string },
  work: (redis: Redis) => Promise<Result>,
): Promise<Result> {
  const redis = new Redis(url, { protocol: 2 });
  try {
    return await work(redis);
  } finally {
    redis.disconnect();
  }
}
