/**
 * The identity of a configuration, equal for all replicas: the routes, databases, and endpoints by name and URL.
 * Secrets, limits and retries may differ, as they do during a rollout. Pure.
 */
import { createHash } from 'node:crypto';
import { stringify } from 'safe-stable-stringify';
import type { Settings } from './vocabulary.js';

export interface Configuration {
  /** Equal for equal configurations; in hex. */
  readonly digest: string;
  /** A digest of each endpoint's URL, by name: URLs may hold secrets. */
  readonly endpoints: ReadonlyMap<string, string>;
}

/** Enough to distinguish the configurations of one deployment. */
const DIGEST_CHARS = 16;

export function configurationOf({
  routes,
  redis,
  endpoints,
}: Pick<Settings, 'routes' | 'endpoints'> & {
  readonly redis: Pick<Settings['redis'], 'databases'>;
}): Configuration {
  const urls = new Map(
    Array.from(endpoints.values(), ({ name, url }) => [name, digestOf(url.href)] as const),
  );
  const digest = digestOf(
    stringify({
      routes: routes.map((route) => ({
        ...route,
        patterns: route.patterns.map(({ source }) => source),
      })),
      databases: [...redis.databases].sort((one, other) => one - other),
      endpoints: Object.fromEntries(urls),
    }),
  );
  return { digest, endpoints: urls };
}

function digestOf(text: string | undefined): string {
  return createHash('sha256')
    .update(text ?? '')
    .digest('hex')
    .slice(0, DIGEST_CHARS);
}
