/** The server's notify-keyspace-events: what the relay needs of it, and who may change it. */
import type { Redis } from 'ioredis';
import { NotificationsOffError } from '../errors.js';
import type { SourceEvents } from '../events/source-events.js';
import { redisCli } from '../redis-cli.js';
import { addressOf, redisError } from '../redis-client.js';
import type { RedisSettings } from '../vocabulary.js';

/** E: the keyevent channels. x: the expired class. */
export const NEEDED_FLAGS = 'Ex';

/** g: what becomes of a key and its deadline. e: evictions. Without them there are only sweeps. */
export const WANTED_FLAGS = 'Exge';

/** What Redis means by `A`: every class but key misses (m) and new keys (n). */
const ALL_CLASSES = 'g$lshzxetd';

export const SETTING = 'notify-keyspace-events';

/** Those of `needed` that a setting lacks; empty when it lacks none. Pure. */
export function missingFlags(setting: string, needed: string = NEEDED_FLAGS): string {
  const present = setting.includes('A') ? setting + ALL_CLASSES : setting;
  return [...needed].filter((flag) => !present.includes(flag)).join('');
}

/** What the relay knows of the server's setting once it has done what it may. */
export type NotificationState = 'on' | 'unknown';

/**
 * With `manage`, adds what is missing and keeps the rest; with `require`, only looks. Rejects with
 * NotificationsOffError when something is missing and stays so. `unknown`: the server does not
 * show its setting (managed services block CONFIG), so only the canary can tell.
 */
export async function ensureNotifications(
  redis: Redis,
  settings: RedisSettings,
  events: SourceEvents,
): Promise<NotificationState> {
  const address = addressOf(settings);
  let setting: string;
  try {
    const reply = (await redis.config('GET', SETTING)) as string[];
    if (reply[1] === undefined) return 'unknown';
    setting = reply[1];
  } catch (error) {
    if (redis.status !== 'ready') throw redisError(error, settings);
    events.notificationsUnreadable(address, error as Error);
    return 'unknown';
  }
  const missing = missingFlags(setting, WANTED_FLAGS);
  if (missing === '') return 'on';
  const wanted = setting + missing;
  const isEnough = missingFlags(setting) === '';
  if (settings.notifications === 'require') {
    if (isEnough) {
      events.notificationsPartial(address, setting, wanted);
      return 'on';
    }
    throw new NotificationsOffError(
      `Redis at ${address} does not publish expirations: expected ${SETTING} to contain ` +
        `"${NEEDED_FLAGS}", found "${setting}". Run: ${redisCli(settings)} CONFIG SET ${SETTING} ${wanted} ` +
        '(and put it into redis.conf), or set redis.notifications: manage',
    );
  }
  try {
    await redis.config('SET', SETTING, wanted);
  } catch (error) {
    if (redis.status !== 'ready') throw redisError(error, settings);
    if (isEnough) {
      events.notificationsPartial(address, setting, wanted);
      return 'on';
    }
    throw new NotificationsOffError(
      `Redis at ${address} does not publish expirations and does not let the relay change that ` +
        `(${(error as Error).message}): set ${SETTING} to "${wanted}" where the server is ` +
        'configured (a managed service: its parameter group), and redis.notifications: require',
    );
  }
  events.notificationsChanged(address, setting, wanted);
  return 'on';
}
