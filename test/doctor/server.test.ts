import { expect, it } from 'vitest';
import { startRedis } from '../../scripts/lib/redis-server.mjs';
import { withServer } from '../../src/doctor/server.js';
import { systemClock } from '../../src/lib/clock.js';
import { fixedLocator } from '../../src/redis/locator.js';
import { Locators, SILENT_LOCATORS } from '../../src/redis/locators.js';
import { settingsOf } from '../support/connecting.js';
import { eventually } from '../support/eventually.js';
import { startSentinel } from '../support/sentinel.js';
import { withRedis } from '../support/with-redis.js';

it('a server that refuses the first command causes no unhandled error', async () => {
  await using primary = await startRedis();
  await using sentinel = await startSentinel('shop', primary.port);
  const unhandled: unknown[] = [];
  const onUnhandled = (reason: unknown) => unhandled.push(reason);
  process.on('unhandledRejection', onUnhandled);
  const { redis } = await settingsOf({ redis: { url: sentinel.url } });
  const locators = new Locators(systemClock, SILENT_LOCATORS);
  const asking = { clock: systemClock, locators, stop: new AbortController().signal };
  const asked = withServer(fixedLocator(redis), 'redis', asking, async () => undefined);
  await expect(asked).rejects.toThrow(
    `redis: {sentinel: {master: shop, nodes: ["127.0.0.1:${sentinel.port}"]}}`,
  );
  await withRedis(sentinel, (client) =>
    eventually('the end of the connection', async () => {
      return !String(await client.client('LIST')).includes('name=expiry-relay:doctor');
    }),
  );
  await systemClock.turn();
  process.off('unhandledRejection', onUnhandled);
  expect(unhandled).toEqual([]);
});
