/** What a session listens to, and what each message becomes. */
import { RedisPermissionError } from '../model/errors.js';
import type { KeyEvent, MarkEvent, RedisSettings } from '../model/vocabulary.js';
import { redisCli, redisUser } from '../redis/advice.js';
import { addressOf, redisErrorOf } from '../redis/client.js';
import type { RedisConnection } from '../redis/connect.js';
import { isRefusal } from '../redis/refusal.js';
import type { ServerClock } from '../redis/server-clock.js';
import type { SourceEvents } from '../telemetry/source-events.js';
import type { Canary } from './canary.js';
import { channelsOf } from './channels.js';
import type { Marks } from './marks.js';
import { GENERIC, missingFlags, NEW_KEYS } from './notifications.js';

export interface SubscriptionParts {
  readonly settings: RedisSettings;
  /** What the relay's own keys begin with; none of them is an expiration. */
  readonly ownPrefixes: readonly string[];
  /** Set by each session to the clock of the server that it found. */
  readonly serverClock: ServerClock;
  readonly events: SourceEvents;
  /** Called before the relay subscribes: events may have been missed until now. */
  readonly onSubscribing: () => void;
  /** Called for each event, in the order in which Redis publishes them; must not throw or wait. */
  readonly onEvent: (event: KeyEvent | MarkEvent) => void;
}

/** The subscription to events of keys other than expirations. */
export interface Changes {
  /** Whether their channels may be subscribed to. */
  readonly areAllowed: boolean;
  /** Whether they are known to be published: by the setting, or because one was received. */
  readonly arePublished: () => boolean;
}

/**
 * Exact channels, never a pattern: under an ACL they need the smaller permission. `setting` is that of
 * the notifications; null where the server does not show it.
 */
export async function subscribe(
  subscriber: RedisConnection,
  canary: Canary,
  marks: Pick<Marks, 'channel' | 'of' | 'subscribe'>,
  setting: string | null,
  parts: SubscriptionParts,
  closing: AbortSignal,
): Promise<Changes> {
  const { settings, events, serverClock, onEvent } = parts;
  const { redis } = subscriber;
  const ownPrefixes = parts.ownPrefixes.map((prefix) => Buffer.from(prefix));
  const isOwn = (key: Buffer) =>
    ownPrefixes.some((prefix) => key.subarray(0, prefix.length).equals(prefix));
  const isInCluster = settings.cluster !== null;
  const channels = channelsOf(settings.databases);
  let arePublished = false;
  redis.on('messageBuffer', (channel: Buffer, key: Buffer) => {
    // A message that arrives while the session ends is part of the gap: it can no longer be verified.
    if (closing.aborted) return;
    const name = channel.toString();
    const meaning = channels.get(name);
    if (meaning === undefined) {
      const mark = name === marks.channel ? marks.of(key) : null;
      if (mark !== null) onEvent({ kind: 'mark', mark });
      return;
    }
    const { database, kind } = meaning;
    canary.onNotification(database, key, kind);
    if (kind === 'changed') arePublished = true;
    if (isOwn(key)) return;
    const detectedAtMs = Math.round(serverClock.nowMs());
    if (kind === 'expired') {
      onEvent({ kind, database, key, detectedAtMs, detectedBy: 'notification' });
    } else if (kind === 'removed' && isInCluster) {
      // A migration removes the key here, too: the primary that has its slot knows whether it is gone.
      onEvent({ kind: 'changed', database, key, detectedAtMs, isRemoval: true });
    } else onEvent({ kind, database, key, detectedAtMs });
  });
  const named = (wanted: (kind: KeyEvent['kind']) => boolean) =>
    [...channels].filter(([, { kind }]) => wanted(kind)).map(([name]) => name);
  parts.onSubscribing();
  // First: each event of a new deadline then follows the event of the key's creation.
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
  // Later than to expirations: these are counted from the first mark on.
  await marks.subscribe(redis);
  try {
    await redis.subscribe(...named((kind) => kind === 'changed' || kind === 'removed'));
    if (setting !== null) arePublished = missingFlags(setting, GENERIC) === '';
    return { areAllowed: true, arePublished: () => arePublished };
  } catch (error) {
    if (!isRefusal(error)) throw redisErrorOf(error, settings);
    events.keyChangesForbidden(addressOf(settings), redisErrorOf(error, settings));
    return { areAllowed: false, arePublished: () => false };
  }
}
