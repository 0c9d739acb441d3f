import { expect, it, onTestFinished } from 'vitest';
import { stringify } from 'yaml';
import { formatKey, quarantineKey, typedKeys } from '../../src/state/format.js';
import { cli, tempFolder } from '../support/cli.js';
import { TEST_SECRET } from '../support/domain.js';
import { sharedRedis } from '../support/shared-redis.js';

const shared = sharedRedis();
const PREFIX = 'expiry-relay';

it('doctor names each key of the state that is of another type', async () => {
  const keys = [...typedKeys(PREFIX, [0], ['shop']).map(([key]) => key), quarantineKey(PREFIX)];
  await shared.client.set(formatKey(PREFIX), 1);
  for (const key of keys) await shared.client.lpush(key, 'of another client');
  const text = stringify({
    redis: { url: shared.server.url },
    endpoints: { shop: { url: 'http://127.0.0.1:9', secrets: [TEST_SECRET] } },
    routes: [{ name: 'cancel', match: 'order:*', to: 'shop' }],
  });
  const folder = await tempFolder({ 'relay.yaml': text });
  onTestFinished(() => folder[Symbol.asyncDispose]());
  const { stdout } = await cli(['doctor', '-c', `${folder.path}/relay.yaml`]);
  expect(stdout).toContain(`[!] state           keys of other types than the relay's: ${keys[0]},`);
  for (const key of keys) expect(stdout).toContain(key);
  expect(stdout).not.toContain('WRONGTYPE');
});
