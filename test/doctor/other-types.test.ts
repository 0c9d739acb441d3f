import { expect, it } from 'vitest';
import { formatKey, quarantineKey, typedKeys } from '../../src/state/format.js';
import { cli, stateFile } from '../support/cli.js';
import { sharedRedis } from '../support/shared-redis.js';

const shared = sharedRedis();
const PREFIX = 'expiry-relay';

it('doctor names each key of the state that has another type', async () => {
  const keys = [...typedKeys(PREFIX, [0], ['shop']).map(([key]) => key), quarantineKey(PREFIX)];
  await shared.client.set(formatKey(PREFIX), 1);
  for (const key of keys) await shared.client.lpush(key, 'of another client');
  const file = await stateFile(shared.server.url);
  const { stdout } = await cli(['doctor', '-c', file]);
  expect(stdout).toContain(`[!] state              keys with an unexpected type: ${keys[0]},`);
  for (const key of keys) expect(stdout).toContain(key);
  expect(stdout).not.toContain('WRONGTYPE');
});
