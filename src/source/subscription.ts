/** What a session listens to, and what each message becomes. */
import { RedisPermissionError } from '../errors.js';
import type { SourceEvents } from '../events/source-events.js';
import type { RedisConnection } from '../redis/connect.js';
import { redisCli, redisUser } from '../redis-cli.js';
import { addressOf, redisErrorOf } from '../redis-client.js';
import { isRefusal } from '../refusal.js';
import type { KeyInDatabase, Notice, RedisSettings } from '../vocabulary.js';
import type { Canary } from './canary.js';
import { channelsOf, type HeardKind } from './channels.js';
import { GENERIC, missingFlags, NEW_KEYS } from './notifications.js';
import type { ServerClock } from './server-clock.js';

export interface SubscriptionParts {
  readonly settings: RedisSettings;
  /** What every key of the relay's own begins with; none of them is an expiration. */
  readonly ownPrefix: string;
  /** Set by each session to the clock of the server that it found. */
  readonly serverClock: ServerClock;
  readonly events: SourceEvents;
  /** Called for each key that expired, none of them the relay's own; must not throw or wait. */
  readonly onExpired: (expired: HeardExpiration) => void;
  /** Called for whatever else became of a key, in the same order; must not throw or wait. */
  readonly onNotice: (notice: Notice) => void;
}

export interface HeardExpiration extends KeyInDatabase {
  /** By the clock of the Redis that holds the keys. */
  readonly detectedAtMs: number;
}

/** What else than expirations is heard of keys. */
export interface Changes {
  /** Whether their channels may be subscribed to. */
  readonly mayBeHeard: boolean;
  /** Whether they are known to be published: by the setting, or since one was heard. */
  readonly areHeard: () => boolean;
}

/**
 * Exact channels, never a pattern: under an ACL they need the smaller permission. `setting` is that of
 * the notifications; null where the server does not show it.
 */
export async function subscribe(
  subscriber: RedisConnection,
  canary: Canary,
  setting: string | null,
  parts: SubscriptionParts,
  closing: AbortSignal,
): Promise<Changes> {
  const { settings, events, serverClock, onExpired, onNotice } = parts;
  const { redis } = subscriber;
  const ownPrefix = Buffer.from(parts.ownPrefix);
  const channels = channelsOf(settings.databases);
  let areHeard = false;
  redis.on('messageBuffer', (channel: Buffer, key: Buffer) => {
    const heard = channels.get(channel.toString());
    // A message that arrives while the session ends is part of the gap: it can no longer be verified.
    if (heard === undefined || closing.aborted) return;
    const { database, kind } = heard;
    canary.notified(database, key, kind);
    if (kind === 'changed') areHeard = true;
    if (key.subarray(0, ownPrefix.length).equals(ownPrefix)) return;
    const heardAtMs = Math.round(serverClock.nowMs());
    if (kind === 'expired') onExpired({ database, key, detectedAtMs: heardAtMs });
    else if (kind === 'created') onNotice({ kind, database, key, heardAtMs });
    else onNotice({ kind, database, key });
  });
  const named = (wanted: (kind: HeardKind) => boolean) =>
    [...channels].filter(([, { kind }]) => wanted(kind)).map(([name]) => name);
  // First: who hears of a new deadline has heard that its key was created.
  if (setting === null || missingFlags(setting, NEW_KEYS) === '') {
    await redis.subscribe(...named((kind) => kind === 'created')).catch((error) => {
      if (!isRefusal(error)) throw error;
    });
  }
  const expired = named((kind) => kind === 'expired');
  try {
    await redis.subscribe(...expired);
  } catch (error) {
    const denied = redisErrorOf(error, settings);
    if (!isRefusal(error) || !(denied instanceof RedisPermissionError)) throw denied;
    throw new RedisPermissionError(
      `${denied.message}. Run: ${redisCli(settings)} ACL SETUSER ${redisUser(settings)} ` +
        `+subscribe ${expired.map((channel) => `'&${channel}'`).join(' ')}`,
    );
  }
  try {
    await redis.subscribe(...named((kind) => kind === 'changed' || kind === 'removed'));
    if (setting !== null) areHeard = missingFlags(setting, GENERIC) === '';
    return { mayBeHeard: true, areHeard: () => areHeard };
  } catch (error) {
    if (!isRefusal(error)) throw redisErrorOf(error, settings);
    events.noticesForbidden(addressOf(settings), redisErrorOf(error, settings));
    return { mayBeHeard: false, areHeard: () => false };
  }
}
