/** What an operator types to change a Redis. */
import type { RedisAddress } from './vocabulary.js';

/** How an operator gives this Redis a command; without the password, for which redis-cli can ask. */
export function redisCli({ host, port, tls }: Pick<RedisAddress, 'host' | 'port' | 'tls'>): string {
  const isHere = host === '127.0.0.1' || host === 'localhost';
  const options = [isHere ? '' : ` -h ${host}`, port === 6379 ? '' : ` -p ${port}`];
  return `redis-cli${options.join('')}${tls ? ' --tls' : ''}`;
}

/** Whom Redis takes the relay for. */
export function redisUser({ username }: Pick<RedisAddress, 'username'>): string {
  return username ?? 'default';
}
