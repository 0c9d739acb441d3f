/** An operator pauses an endpoint: its webhooks wait in all replicas, until it is resumed. */
import { Redis } from 'ioredis';
import { describe, expect, it, onTestFinished } from 'vitest';
import { stringify } from 'yaml';
import { startRedis } from '../../scripts/lib/redis-server.mjs';
import { cli, tempFolder } from '../support/cli.js';
import { blockOf } from '../support/doc-pages.js';
import { TEST_SECRET } from '../support/domain.js';
import { eventually } from '../support/eventually.js';
import { RelayProcess } from '../support/relay-process.js';
import { expectEach, TestReceiver } from '../support/test-receiver.js';

const KEYS = 50;

const COMMANDS = blockOf('docs/endpoints.md', 'sh', 'expiry-relay pause').split('\n');

describe('a paused endpoint', () => {
  it('gets nothing from any replica, also after restarts, and everything once it is resumed', async () => {
    await using redis = await startRedis();
    await using shop = await TestReceiver.start();
    await using audit = await TestReceiver.start();
    const file = {
      redis: { url: redis.url },
      endpoints: {
        shop: { url: shop.url, secrets: [TEST_SECRET] },
        audit: { url: audit.url, secrets: [TEST_SECRET] },
      },
      routes: [{ name: 'order', match: 'order:*', to: ['shop', 'audit'] }],
    };
    const client = new Redis(redis.url);
    onTestFinished(() => client.disconnect());
    await using folder = await tempFolder({ 'relay.yaml': stringify(file) });
    /** Runs the documented command that begins with this word. */
    const run = (name: string) => {
      const line = COMMANDS.find((command) => command.startsWith(`expiry-relay ${name}`)) ?? '';
      const words = Array.from(line.matchAll(/"([^"]*)"|\S+/g), ([word, quoted]) => quoted ?? word);
      return cli(words.slice(1), { cwd: folder.path });
    };
    await using first = await RelayProcess.start(file);
    await using second = await RelayProcess.start(file);
    await run('pause');
    for (let n = 0; n < KEYS; n += 1) await client.set(`order:${n}`, '', 'PX', 100);
    await eventually('the other endpoint has all', () => audit.keys.length === KEYS);
    const series = (endpoint: string) => `expiry_relay_endpoint_paused{endpoint="${endpoint}"}`;
    expect(await second.metrics(series('shop'), series('audit'))).toEqual([1, 0]);
    await eventually('the log says so', () =>
      [first, second].some((relay) => relay.logs('endpoint_paused').length > 0),
    );
    await first.stop();
    await second.stop('SIGKILL');
    await using third = await RelayProcess.start(file);
    await third.logged('endpoint_paused');
    const { stdout } = await run('status');
    expect(stdout).toMatch(/^shop +50 .* paused since .*: moving the database$/m);
    expect(shop.requests).toEqual([]);
    await run('resume');
    await eventually('all arrive', () => shop.keys.length >= KEYS);
    expectEach(shop, KEYS);
    expectEach(audit, KEYS);
    await third.logged('endpoint_resumed');
  });
});
