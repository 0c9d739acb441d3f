/** The server's notify-keyspace-events: what the relay needs of it, and who may change it. */
import type { Redis } from 'ioredis';
import { type Clock, untilAborted } from '../clock.js';
import { NotificationsLostError, NotificationsOffError, type RelayError } from '../errors.js';
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

/** The class of changes of deadlines, and that of new keys, which the relay uses where it is set. */
export const GENERIC = 'g';
export const NEW_KEYS = 'n';

export const SETTING = 'notify-keyspace-events';

/** The canary proves what expires alone: of the other classes only the setting tells. */
const LOOK_EVERY_MS = 5_000;

/** Those of `needed` that a setting lacks; empty when it lacks none. Pure. */
export function missingFlags(setting: string, needed: string = NEEDED_FLAGS): string {
  const present = setting.includes('A') ? setting + ALL_CLASSES : setting;
  return [...needed].filter((flag) => !present.includes(flag)).join('');
}

/**
 * With `manage`, adds what is missing and keeps the rest; with `require`, only looks. Rejects with
 * NotificationsOffError when something is missing and stays so. Resolves with the setting as it is then;
 * with null when the server does not show it (managed services block CONFIG), so only the canary can tell.
 */
export async function ensureNotifications(
  redis: Redis,
  settings: RedisSettings,
  events: SourceEvents,
): Promise<string | null> {
  const address = addressOf(settings);
  let setting: string;
  try {
    const reply = (await redis.config('GET', SETTING)) as string[];
    if (reply[1] === undefined) return null;
    setting = reply[1];
  } catch (error) {
    if (redis.status !== 'ready') throw redisError(error, settings);
    events.notificationsUnreadable(address, error as Error);
    return null;
  }
  const missing = missingFlags(setting, WANTED_FLAGS);
  if (missing === '') return setting;
  const wanted = setting + missing;
  const isEnough = missingFlags(setting) === '';
  if (settings.notifications === 'require') {
    if (isEnough) {
      events.notificationsPartial(address, setting, wanted);
      return setting;
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
      return setting;
    }
    throw new NotificationsOffError(
      `Redis at ${address} does not publish expirations and does not let the relay change that ` +
        `(${(error as Error).message}): set ${SETTING} to "${wanted}" where the server is ` +
        'configured (a managed service: its parameter group), and redis.notifications: require',
    );
  }
  events.notificationsChanged(address, setting, wanted);
  return wanted;
}

/**
 * Looks at the setting until the session closes. Resolves with what is wrong once it lacks a class that
 * it had: what was told by that has been missed since. `before` is what it was: null where the server
 * does not show it, which is never wrong.
 */
export async function notificationsLost(
  redis: Redis,
  before: string | null,
  settings: RedisSettings,
  clock: Clock,
  closing: AbortSignal,
): Promise<RelayError> {
  const wanted = [...WANTED_FLAGS];
  const isIn = (setting: string) => (flag: string) => missingFlags(setting, flag) === '';
  // Asked again, it would refuse again, and log it.
  if (before === null) await untilAborted(closing);
  for (let had = wanted.filter(isIn(before ?? '')); !closing.aborted; ) {
    await clock.sleep(LOOK_EVERY_MS, closing);
    const setting = await settingOf(redis);
    if (setting === null) continue;
    const lost = had.filter((flag) => !isIn(setting)(flag));
    if (lost.length === 0) had = wanted.filter(isIn(setting));
    else
      return new NotificationsLostError(
        `somebody has set ${SETTING} of Redis at ${addressOf(settings)} to "${setting}": it lacks ` +
          `${lost.join('')}, which it had`,
      );
  }
  return new NotificationsLostError('the session is over');
}

/** Null when the server does not show it. */
async function settingOf(redis: Redis): Promise<string | null> {
  const reply = (await redis.config('GET', SETTING).catch(() => [])) as string[];
  return reply[1] ?? null;
}
