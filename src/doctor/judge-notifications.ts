/** The server's notify-keyspace-events → whether the relay receives events, and who must act. Pure. */

import { printable } from '../lib/printable.js';
import type { RedisSettings } from '../model/vocabulary.js';
import { redisCli } from '../redis/advice.js';
import { addressOf } from '../redis/client.js';
import { type Finding, note, ok, problem, warning } from '../server/finding.js';
import { NOTIFICATIONS } from '../server/properties.js';
import { missingFlags, WANTED_FLAGS } from '../source/notifications.js';

const SUBJECT = 'notifications';

/** `setting`: null when unreadable. `mayChange`: null when unknown. */
export function judgeNotifications(
  setting: string | null,
  mayChange: boolean | null,
  redis: RedisSettings,
): Finding {
  if (setting === null) {
    return warning(
      SUBJECT,
      `${NOTIFICATIONS} cannot be read (CONFIG is disabled or not permitted), so it is ` +
        'unknown whether the server publishes expirations. On startup, the relay verifies it with a ' +
        'canary, and exits with code 1 if no notification arrives',
      `set it to "${WANTED_FLAGS}" in redis.conf, or in the parameter group of a managed service`,
    );
  }
  const missing = missingFlags(setting, WANTED_FLAGS);
  const found = `${NOTIFICATIONS} is "${printable(setting)}"`;
  if (missing === '') return ok(SUBJECT, `${found}, as required`);
  const lacks = `${found}: lacks ${missing}`;
  const isEnough = missingFlags(setting) === '';
  const command = `${redisCli(redis)} CONFIG SET ${NOTIFICATIONS} ${printable(setting)}${missing}`;
  const byHand = 'persist the setting in redis.conf, and run:';
  if (redis.notifications === 'manage' && mayChange !== false) {
    if (mayChange) {
      return note(SUBJECT, `${lacks}; the relay adds it on startup (notifications: manage)`);
    }
    const text = 'it is unknown whether the relay is permitted to add it: it tries on startup';
    const costs = isEnough ? '' : ', and exits with code 1 if it is not';
    const say = isEnough ? note : warning;
    return say(SUBJECT, `${lacks}; ${text}${costs}`, `if it is not permitted, ${byHand}`, command);
  }
  const forbidden =
    redis.notifications === 'manage'
      ? ', and the user is not permitted to change it'
      : ' (notifications: require)';
  if (isEnough) {
    return warning(
      SUBJECT,
      `${lacks}${forbidden}: deadlines are found only by sweeps. A key with a life shorter than ` +
        "a sweep expires when Redis's active expire cycle reaches it",
      byHand,
      command,
    );
  }
  const text = `${lacks}${forbidden}: Redis at ${addressOf(redis)} does not publish expirations`;
  return problem(SUBJECT, text, byHand, command);
}

/** Empty if the replica would publish as a primary does. `setting`: null when unreadable. */
export function judgeReplicaNotifications(
  setting: string | null,
  replica: RedisSettings,
): Finding[] {
  const subject = 'replicas';
  const name = `replica ${addressOf(replica)}`;
  if (setting === null) return [note(subject, `${name}: ${NOTIFICATIONS} cannot be read`)];
  const missing = missingFlags(setting, WANTED_FLAGS);
  if (missing === '') return [];
  const lacks = `${name}: ${NOTIFICATIONS} is "${printable(setting)}": lacks ${missing}`;
  if (replica.notifications === 'manage') {
    return [note(subject, `${lacks}; the relay adds it (notifications: manage)`)];
  }
  return [
    warning(
      subject,
      `${lacks} (notifications: require): after a failover to it, the relay is not ready`,
      'persist the setting in redis.conf, and run:',
      `${redisCli(replica)} CONFIG SET ${NOTIFICATIONS} ${printable(setting)}${missing}`,
    ),
  ];
}
