/** Detects a Sentinel at the address of a Redis, and says how to configure it. */
import type { Redis } from 'ioredis';
import { printable } from '../../lib/printable.js';
import { NotRedisError } from '../../model/errors.js';
import type { RedisTls } from '../../model/redis-login.js';
import type { RedisAddress } from '../../model/vocabulary.js';
import { addressOf } from '../client.js';
import { settingNames } from '../setting-names.js';
import { mastersOf, othersOf } from './sentinel.js';

/** A Sentinel rarely monitors more; the message stays readable. */
const PRIMARIES_SHOWN_MAX = 5;

/** Always throws, with the section to paste instead of the URL, for each primary that the Sentinel monitors. */
export async function refuseSentinel(
  redis: Redis,
  address: RedisAddress,
  section: 'redis' | 'state',
): Promise<never> {
  const found = `the server at ${addressOf(address)} is a Sentinel, which holds no keys`;
  const { url, server } = settingNames(address, section);
  // Sentinels have named this server as a primary.
  if (url === null) throw new NotRedisError(`${found}. Check ${server}`);
  const masters = await mastersOf(redis);
  const shown = masters.slice(0, PRIMARIES_SHOWN_MAX);
  const blocks = await Promise.all(shown.map((name) => blockFor(redis, address, section, name)));
  const more = masters.length > PRIMARIES_SHOWN_MAX ? ', …' : '';
  const advice =
    blocks.length === 0
      ? `Set ${section}.sentinel instead of ${url}`
      : `Replace ${url} with ${blocks.join(' or ')}${more}`;
  throw new NotRedisError(`${found}. ${advice}`);
}

/** Such as `redis: {sentinel: {master: mymaster, nodes: ["10.0.0.1:26379", "10.0.0.2:26379"]}}`. */
async function blockFor(
  redis: Redis,
  { host, port, tls }: RedisAddress,
  section: 'redis' | 'state',
  master: string,
): Promise<string> {
  const others = await othersOf(redis, master);
  const nodes = [{ host, port }, ...others].map((node) => JSON.stringify(addressOf(node)));
  const login = tls === null ? '' : `, tls: ${tlsBlock(tls)}`;
  const name = printable(master);
  return `${section}: {sentinel: {master: ${name}, nodes: [${nodes.join(', ')}]${login}}}`;
}

function tlsBlock({ caFile, certFile, keyFile, serverName }: RedisTls): string {
  const files = {
    ca_file: caFile,
    cert_file: certFile,
    key_file: keyFile,
    server_name: serverName,
  };
  const given = Object.entries(files).flatMap(([key, value]) =>
    value === null ? [] : [`${key}: ${JSON.stringify(value)}`],
  );
  return `{${given.join(', ')}}`;
}
