import { expect, it } from 'vitest';
import { judgeNotifications } from '../../src/doctor/judge-notifications.js';
import { redisSettings } from '../support/doctor-readings.js';

const COMMAND = 'redis-cli -h redis.internal CONFIG SET notify-keyspace-events';

it.each([
  ['manage', 'AKE', true, 'ok', 'as required', null],
  ['require', 'gxeE', null, 'ok', 'as required', null],
  ['manage', '', true, 'note', 'lacks Exge; the relay adds it on startup', null],
  ['manage', 'Ex', null, 'note', 'permitted to add it: it tries on startup', `${COMMAND} Exge`],
  ['manage', 'K', null, 'warning', 'exits with code 1 if it is not', `${COMMAND} KExge`],
  ['manage', '', false, 'problem', 'the user is not permitted to change it', `${COMMAND} Exge`],
  ['manage', 'Ex', false, 'warning', 'found only by sweeps', `${COMMAND} Exge`],
  ['require', 'Ex', true, 'warning', 'found only by sweeps', `${COMMAND} Exge`],
  [
    'require',
    'Kx',
    true,
    'problem',
    'redis.internal:6379 does not publish expirations',
    `${COMMAND} KxEge`,
  ],
] as const)('%s with %j (may change it: %s) is %s: %s', (...given) => {
  const [notifications, setting, mayChange, level, text, command] = given;
  const found = judgeNotifications(setting, mayChange, redisSettings({ notifications }));
  expect(found).toMatchObject({ level, text: expect.stringContaining(text), command });
  if (command === null) expect(found.advice).toBeNull();
  else expect(found.advice).toMatch(/run:$/);
});

it('an unreadable setting causes a warning', () => {
  const found = judgeNotifications(null, null, redisSettings({ notifications: 'require' }));
  expect(found).toMatchObject({
    level: 'warning',
    text: expect.stringContaining('exits with code 1 if no notification arrives'),
    advice: expect.stringContaining('set it to "Exge"'),
  });
});
