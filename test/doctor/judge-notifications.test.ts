import { expect, it } from 'vitest';
import { judgeNotifications } from '../../src/doctor/judge-notifications.js';
import { redisSettings } from '../support/doctor-readings.js';

const COMMAND = 'redis-cli -h redis.internal CONFIG SET notify-keyspace-events';

it.each([
  ['manage', 'AKE', true, 'ok', 'all that the relay listens to', null],
  ['require', 'gxeE', null, 'ok', 'all that the relay listens to', null],
  ['manage', '', true, 'note', 'lacks Exge; the relay will add it at its start', null],
  ['manage', 'Ex', null, 'note', 'cannot be told: it tries at its start', `${COMMAND} Exge`],
  ['manage', 'K', null, 'warning', 'ends with exit code 1 if it may not', `${COMMAND} KExge`],
  ['manage', '', false, 'problem', 'the user may not change it', `${COMMAND} Exge`],
  ['manage', 'Ex', false, 'warning', 'found by sweeps alone', `${COMMAND} Exge`],
  ['require', 'Ex', true, 'warning', 'found by sweeps alone', `${COMMAND} Exge`],
  [
    'require',
    'Kx',
    true,
    'problem',
    'redis.internal:6379 does not publish expirations',
    `${COMMAND} KxEge`,
  ],
  [
    'require',
    null,
    null,
    'warning',
    'exits with code 1 if no notification arrives',
    'set it to "Exge"',
  ],
] as const)('%s with %j (may change it: %s) is %s: %s', (...given) => {
  const [notifications, setting, mayChange, level, text, advice] = given;
  const found = judgeNotifications(setting, mayChange, redisSettings({ notifications }));
  expect(found).toMatchObject({ level, text: expect.stringContaining(text) });
  if (advice === null) expect(found.advice).toBeNull();
  else expect(found.advice).toContain(advice);
});
