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
      `${NOTIFICATIONS} cannot be read (CONFIG is disabled or not permitted), so the doctor cannot tell ` +
        'whether the server publishes expirations. The relay tests it at its start with a canary, and ' +
        'exits with code 1 if no notification arrives',
      `set it to "${WANTED_FLAGS}" in redis.conf, or in the parameter group of a managed service`,
    );
  }
  const missing = missingFlags(setting, WANTED_FLAGS);
  const found = `${NOTIFICATIONS} is "${printable(setting)}"`;
  if (missing === '') return ok(SUBJECT, `${found}: all that the relay listens to`);
  const lacks = `${found}: lacks ${missing}`;
  const isEnough = missingFlags(setting) === '';
  const command = `${redisCli(redis)} CONFIG SET ${NOTIFICATIONS} ${printable(setting)}${missing}`;
  const byHand = `run: ${command} (and put it into redis.conf)`;
  if (redis.notifications === 'manage' && mayChange !== false) {
    if (mayChange) {
      return note(SUBJECT, `${lacks}; the relay will add it at its start (notifications: manage)`);
    }
    const text = 'whether the relay may add it cannot be told: it tries at its start';
    const costs = isEnough ? '' : ', and ends with exit code 1 if it may not';
    const say = isEnough ? note : warning;
    return say(SUBJECT, `${lacks}; ${text}${costs}`, `if it may not, ${byHand}`);
  }
  const forbidden =
    redis.notifications === 'manage'
      ? ', and the user may not change it'
      : ' (notifications: require)';
  if (isEnough) {
    return warning(
      SUBJECT,
      `${lacks}${forbidden}: deadlines are found by sweeps alone, and a key whose life is shorter ` +
        'than a sweep expires when Redis comes by',
      byHand,
    );
  }
  const text = `${lacks}${forbidden}: Redis at ${addressOf(redis)} does not publish expirations`;
  return problem(SUBJECT, text, byHand);
}
