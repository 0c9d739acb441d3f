/** Several replicas act as one: each expiration becomes one webhook, even if any of them dies. */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { describe, expect, it, onTestFinished } from 'vitest';
import { startRedis } from '../../scripts/lib/redis-server.mjs';
import { aDeployment, Deployment } from '../support/deployment.js';
import { eventually } from '../support/eventually.js';
import { simpleFile } from '../support/relay-process.js';
import { expectEach, TestReceiver } from '../support/test-receiver.js';

describe('three replicas', () => {
  it('send one webhook for each expiration while the one that watches is killed, twice', async () => {
    const { deployment, expectAll } = await aDeployment();
    for (let kills = 0; kills < 2; kills += 1) {
      const watching = await deployment.watching();
      await watching.stop('SIGKILL');
      const killedAtMs = Date.now();
      expect(await deployment.watching()).not.toBe(watching);
      expect(Date.now() - killedAtMs).toBeLessThan(4_000);
      await sleep(500);
    }
    await expectAll();
  }, 90_000);

  it('tolerate one that freezes while it watches, and resumes', async () => {
    const { deployment, receiver, expectAll } = await aDeployment();
    const paused = await deployment.watching();
    paused.kill('SIGSTOP');
    const before = receiver.requests.length;
    await eventually('others go on', () => receiver.requests.length > before + 300, 20_000);
    await sleep(4_000);
    paused.kill('SIGCONT');
    await eventually('it is fenced', () => !paused.watches);
    await expectAll();
  }, 90_000);

  it('take over although the watched Redis cannot save its data, and rejects writes and PING', async () => {
    await using redis = await startRedis();
    await using state = await startRedis();
    await using receiver = await TestReceiver.start();
    const file = simpleFile(redis.url, receiver.url, { state: { url: state.url } });
    await using deployment = new Deployment(file);
    for (let n = 0; n < 2; n += 1) await deployment.add();
    const watching = await deployment.watching();
    const client = new Redis(redis.url, { protocol: 2 });
    onTestFinished(() => client.disconnect());
    for (let n = 0; n < 20; n += 1) await client.set(`order:${n}`, '', 'PX', 6_000 + 50 * n);
    await mkdir(join(redis.dir, 'dump.rdb', 'x'), { recursive: true });
    await client.config('SET', 'save', '3600 1');
    await eventually('a save that fails', async () => {
      await client.bgsave().catch(() => undefined);
      return (await client.info('persistence')).includes('bgsave_status:err');
    });
    await expect(client.ping()).rejects.toThrow('MISCONF');
    await watching.stop('SIGKILL');
    expect(await deployment.watching()).not.toBe(watching);
    await eventually('all webhooks', () => new Set(receiver.keys).size === 20, 20_000);
    expectEach(receiver, 20);
  }, 60_000);

  it('hand the lease over at once when one is stopped', async () => {
    const { deployment, receiver, expectAll } = await aDeployment();
    const stopped = await deployment.watching();
    await stopped.stop();
    const stoppedAtMs = Date.now();
    const watching = await deployment.watching();
    expect(Date.now() - stoppedAtMs).toBeLessThan(2_000);
    await expectAll();
    expect(await watching.metric('expiry_relay_watching')).toBe(1);
    expect(receiver.requests.map(({ body }) => body.data.detected_by)).not.toContain('recovery');
  }, 90_000);
});
