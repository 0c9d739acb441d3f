// cspell:ignore lshzxetd
/** The server's notify-keyspace-events: required flags, and how they are set. */
import type { Redis } from 'ioredis';
import { type Clock, untilAborted } from '../lib/clock.js';
import {
  messageOf,
  NotificationsLostError,
  NotificationsOffError,
  type RelayError,
} from '../model/errors.js';
import type { RedisSettings } from '../model/vocabulary.js';
import { redisCli } from '../redis/advice.js';
import { addressOf } from '../redis/client.js';
import { isRefusal, unlessRefused } from '../redis/refusal.js';
import { NOTIFICATIONS } from '../server/properties.js';
import type { SourceEvents } from '../telemetry/source-events.js';

/** E: the keyevent channels. x: the expired class. */
export const NEEDED_FLAGS = 'Ex';

/** g: generic commands such as DEL and EXPIRE. e: evictions. Without both, deadlines are found by sweeps alone. */
export const WANTED_FLAGS = 'Exge';

/** The meaning of `A`: every class except key misses (m) and new keys (n). */
const ALL_CLASSES = 'g$lshzxetd';

/** The class of changed deadlines, and the class of new keys. The relay uses the latter where it is already set. */
export const GENERIC = 'g';
export const NEW_KEYS = 'n';

/** How often the setting is checked: the canary proves only the classes x and g. */
const LOOK_EVERY_MS = 5_000;

/** What becomes of the setting. */
export type NotificationEvents = Pick<
  SourceEvents,
  'notificationsChanged' | 'notificationsPartial' | 'notificationsUnreadable'
>;

/** The flags of `needed` that a setting lacks; empty: none. Pure. */
export function missingFlags(setting: string, needed: string = NEEDED_FLAGS): string {
  const present = setting.includes('A') ? setting + ALL_CLASSES : setting;
  return [...needed].filter((flag) => !present.includes(flag)).join('');
}

/**
 * With `manage`, adds missing flags and keeps the others; with `require`, only checks. Rejects with
 * NotificationsOffError if a required flag is missing afterwards. Resolves with the resulting setting; null: the server
 * does not show it, and only the canary can prove it.
 */
export async function ensureNotifications(
  redis: Redis,
  settings: RedisSettings,
  events: NotificationEvents,
): Promise<string | null> {
  const address = addressOf(settings);
  let before: string;
  try {
    const reply = (await redis.config('GET', NOTIFICATIONS)) as string[];
    if (reply[1] === undefined) return null;
    before = reply[1];
  } catch (error) {
    if (!isRefusal(error)) throw error;
    events.notificationsUnreadable(address, error as Error);
    return null;
  }
  if (missingFlags(before, WANTED_FLAGS) === '') return before;
  const { after, refusal } =
    settings.notifications === 'manage'
      ? await addFlags(redis, before)
      : { after: before, refusal: null };
  if (missingFlags(after) !== '') throw offError(after, refusal, settings);
  if (after !== before) events.notificationsChanged(address, before, after);
  const lacking = missingFlags(after, WANTED_FLAGS);
  if (lacking !== '') events.notificationsPartial(address, after, after + lacking);
  return after;
}

interface Written {
  /** The setting as shown by the server afterwards. */
  readonly after: string;
  /** The error of the last CONFIG SET; null: OK. */
  readonly refusal: Error | null;
}

/**
 * Adds all wanted flags, or else the required ones: some servers accept only `Ex`. Some servers reply OK and change
 * nothing, so the setting is read again.
 */
async function addFlags(redis: Redis, before: string): Promise<Written> {
  let written: Written = { after: before, refusal: null };
  for (const flags of [WANTED_FLAGS, NEEDED_FLAGS]) {
    const missing = missingFlags(before, flags);
    if (missing === '') break;
    const refusal = await redis.config('SET', NOTIFICATIONS, before + missing).then(
      () => null,
      (error: Error) => error,
    );
    if (refusal !== null && !isRefusal(refusal)) throw refusal;
    written = { after: (await settingOf(redis)) ?? before, refusal };
    if (missingFlags(written.after, flags) === '') break;
  }
  return written;
}

function offError(
  setting: string,
  refusal: Error | null,
  settings: RedisSettings,
): NotificationsOffError {
  const address = addressOf(settings);
  const wanted = setting + missingFlags(setting, WANTED_FLAGS);
  if (settings.notifications === 'require') {
    return new NotificationsOffError(
      `Redis at ${address} does not publish expirations: expected ${NOTIFICATIONS} to contain ` +
        `"${WANTED_FLAGS}", found "${setting}". Run: ${redisCli(settings)} CONFIG SET ${NOTIFICATIONS} ` +
        `${wanted} (and add it to redis.conf), or set redis.notifications: manage`,
    );
  }
  const said = refusal === null ? `it returns OK but keeps "${setting}"` : messageOf(refusal);
  return new NotificationsOffError(
    `Redis at ${address} does not publish expirations, and the relay cannot change the setting ` +
      `(${said}). Set ${NOTIFICATIONS} to "${wanted}" in the configuration of the server (for a managed ` +
      'service, its parameter group), and redis.notifications: require',
  );
}

/**
 * Checks the setting until the session closes. Resolves with an error once a class is missing that was set before: its
 * notifications have been missed since. `before` is the first setting; null: the server does not show it, and there is
 * nothing to check.
 */
export async function watchNotifications(
  redis: Redis,
  before: string | null,
  settings: RedisSettings,
  clock: Clock,
  closing: AbortSignal,
): Promise<RelayError> {
  const wanted = [...WANTED_FLAGS];
  const isIn = (setting: string) => (flag: string) => missingFlags(setting, flag) === '';
  // A second CONFIG GET would be rejected again, and logged.
  if (before === null) await untilAborted(closing);
  for (let had = wanted.filter(isIn(before ?? '')); !closing.aborted; ) {
    await clock.sleep(LOOK_EVERY_MS, closing);
    const setting = await settingOf(redis).catch(() => null);
    if (setting === null) continue;
    const lost = had.filter((flag) => !isIn(setting)(flag));
    if (lost.length === 0) had = wanted.filter(isIn(setting));
    else
      return new NotificationsLostError(
        `another client set ${NOTIFICATIONS} of Redis at ${addressOf(settings)} to "${setting}", which ` +
          `lacks ${lost.join('')}`,
      );
  }
  return new NotificationsLostError('the session ended');
}

/** Resolves with null if the server does not show it. */
export async function settingOf(redis: Redis): Promise<string | null> {
  const reply = (await unlessRefused(redis.config('GET', NOTIFICATIONS))) as string[] | null;
  return reply?.[1] ?? null;
}
