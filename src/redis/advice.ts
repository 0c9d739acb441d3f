/** Commands for the operator. */
import type { RedisTls } from '../model/redis-login.js';
import type { RedisAddress } from '../model/vocabulary.js';

/** The redis-cli command for this Redis, without the password, which redis-cli can ask for. */
export function redisCli({
  host,
  port,
  path,
  tls,
}: Pick<RedisAddress, 'host' | 'port' | 'path' | 'tls'>): string {
  if (path !== null) return `redis-cli -s ${shellWord(path)}`;
  const isHere = host === '127.0.0.1' || host === 'localhost';
  const options = [isHere ? '' : ` -h ${host}`, port === 6379 ? '' : ` -p ${port}`];
  return `redis-cli${options.join('')}${tls === null ? '' : tlsOptions(tls)}`;
}

function tlsOptions({ caFile, certFile, keyFile, serverName }: RedisTls): string {
  const files = { cacert: caFile, cert: certFile, key: keyFile, sni: serverName };
  const given = Object.entries(files).flatMap(([option, value]) =>
    value === null ? [] : [` --${option} ${shellWord(value)}`],
  );
  return ` --tls${given.join('')}`;
}

/** Quotes a word for a shell if necessary. */
export function shellWord(word: string): string {
  return /^[\w+@:./=-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}

/** The relay's user in Redis. */
export function redisUser({ username }: Pick<RedisAddress, 'username'>): string {
  return username ?? 'default';
}
