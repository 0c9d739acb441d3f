/** Reloads of the configuration while the relay runs. */
import { mkdir, mkdtemp, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { request } from 'undici';
import { describe, expect, it, onTestFinished } from 'vitest';
import { stringify } from 'yaml';
import { type RunningRedis, startRedis } from '../../scripts/lib/redis-server.mjs';
import { TEST_SECRET } from '../support/domain.js';
import { eventually } from '../support/eventually.js';
import { MountedSecret } from '../support/mounted-secret.js';
import { type RelayFile, RelayProcess, spawnMain } from '../support/relay-process.js';
import { TestReceiver } from '../support/test-receiver.js';
import { withRedis } from '../support/with-redis.js';

const SUCCESSFUL = 'expiry_relay_config_last_reload_successful';

/** Two comparisons of the files, and a busy machine. */
const NOTICED_MS = 15_000;

const expire = (redis: RunningRedis, ...keys: string[]) =>
  withRedis(redis, (client) => Promise.all(keys.map((key) => client.set(key, '', 'PX', 10))));

/** Whether the process has a listener for SIGHUP, signal 1: without one, the signal ends it. */
async function catchesHangup(pid: number): Promise<boolean> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  return /^SigCgt:.*[13579bdf]$/m.test(status);
}

/** Routes of these names, each for keys with its name as the prefix. */
const routesFor = (...names: string[]) =>
  names.map((name) => ({ name, match: `${name}:*`, to: 'shop' }));

function fileFor(redis: RunningRedis, url: string, given: RelayFile = {}): RelayFile {
  return {
    redis: { url: redis.url },
    endpoints: { shop: { url, secrets: [TEST_SECRET] } },
    routes: routesFor('order'),
    log: { level: 'debug' },
    ...given,
  };
}

/** Waits for as many reloads, or another event. */
const reloaded = (relay: RelayProcess, count = 1, event = 'config_reloaded') =>
  eventually(
    `${count} × ${event}`,
    () => (relay.logs(event).length >= count ? relay.logs(event)[count - 1] : undefined),
    NOTICED_MS,
  );

const arrived = (receiver: TestReceiver, ...keys: string[]) =>
  eventually(`webhooks for ${keys}`, () => keys.every((key) => receiver.keys.includes(key)));

async function hangUp(relay: RelayProcess, file: RelayFile): Promise<void> {
  const before = relay.logs('config_reloaded').length;
  await relay.rewrite(file);
  relay.kill('SIGHUP');
  await reloaded(relay, before + 1);
}

describe.concurrent('SIGHUP', () => {
  it('makes new routes and endpoints take effect at once, without a gap, and stops nothing', async () => {
    await using redis = await startRedis();
    await using first = await TestReceiver.start();
    await using second = await TestReceiver.start();
    await using relay = await RelayProcess.start(fileFor(redis, first.url));
    await eventually('watching', () => relay.watches);
    // Exists before its route does.
    await withRedis(redis, (client) => client.set('cart:old', '', 'PX', 4_000));
    await expire(redis, 'order:1');
    await arrived(first, 'order:1');
    const secrets = [TEST_SECRET];
    await hangUp(
      relay,
      fileFor(redis, first.url, {
        endpoints: { shop: { url: first.url, secrets }, log: { url: second.url, secrets } },
        routes: [...routesFor('cart'), { name: 'copy', match: 'cart:*', to: 'log' }],
      }),
    );
    expect(relay.logs('config_reloaded')).toMatchObject([
      {
        trigger: 'signal',
        changed: ['endpoints.log', 'routes.order', 'routes.cart', 'routes.copy'],
      },
    ]);
    await eventually('the new keys are tracked', async () => {
      return (await relay.metric('expiry_relay_tracked_deadlines')) === 1;
    });
    await expire(redis, 'order:2', 'cart:1');
    await arrived(first, 'cart:1', 'cart:old');
    await arrived(second, 'cart:1', 'cart:old');
    expect(first.keys).not.toContain('order:2');
    const old = first.requests.find(({ body }) => body.data.key === 'cart:old');
    expect(old?.body.data).toMatchObject({ detected_by: 'notification' });
    expect(old?.body.data.expired_at).not.toBeNull();
    expect(relay.logs('watching_ended')).toEqual([]);
    expect(await relay.metric('expiry_relay_gaps_total')).toBe(0);
    expect((await relay.stop()).code).toBe(0);
  });

  it('is a reload while the relay still starts, and stops any other command', async () => {
    await using redis = await startRedis();
    await using receiver = await TestReceiver.start();
    await using relay = await RelayProcess.spawn(fileFor(redis, receiver.url));
    await eventually('it listens to the signal', () => catchesHangup(relay.pid));
    const sent = setInterval(() => relay.kill('SIGHUP'), 20);
    await relay.ready();
    clearInterval(sent);
    await reloaded(relay);
    expect(relay.logs('stopping')).toEqual([]);
    const listen = spawnMain(['listen', '--port', '0', '-c', relay.file]);
    await eventually('it listens', () => /listening/i.test(listen.stdout() + listen.stderr()));
    listen.process.kill('SIGHUP');
    expect(await listen.exited).toMatchObject({ signal: null });
  });

  it('leaves the old configuration running when the new one is invalid or needs a restart', async () => {
    await using redis = await startRedis();
    await using receiver = await TestReceiver.start();
    const file = fileFor(redis, receiver.url);
    await using relay = await RelayProcess.start(file);
    const before = await relay.metrics(SUCCESSFUL, TIMESTAMP);
    expect(before[0]).toBe(1);
    await relay.rewrite({
      ...file,
      routes: routesFor('cart'),
      shutdown: { grace: 'soon' },
      typo: 1,
    });
    relay.kill('SIGHUP');
    const { mistakes } = await reloaded(relay, 1, 'config_reload_failed');
    expect(mistakes).toHaveLength(2);
    expect(await relay.metric(SUCCESSFUL)).toBe(0);
    await relay.rewrite({ ...file, routes: routesFor('cart'), state: { prefix: 'other' } });
    relay.kill('SIGHUP');
    expect(await reloaded(relay, 1, 'config_restart_required')).toMatchObject({
      level: 'error',
      changed: ['state.prefix'],
      msg: expect.stringContaining('restart required'),
    });
    await expire(redis, 'order:1', 'cart:1');
    await arrived(receiver, 'order:1');
    expect((await relay.get('/readyz')).status).toBe(200);
    await hangUp(relay, { ...file, routes: routesFor('order', 'cart') });
    await expire(redis, 'cart:2');
    await arrived(receiver, 'cart:2');
    expect(receiver.keys).not.toContain('cart:1');
    const after = await relay.metrics(SUCCESSFUL, TIMESTAMP);
    expect(after[0]).toBe(1);
    expect(after[1]).toBeGreaterThan(before[1] ?? Number.POSITIVE_INFINITY);
  });
});

const TIMESTAMP = 'expiry_relay_config_last_reload_success_timestamp_seconds';

/** Runs a relay with a file in a folder of the test's. */
async function relayAt(path: string) {
  const spawned = spawnMain(['run', '-c', path]);
  onTestFinished(async () => {
    spawned.process.kill('SIGKILL');
    await spawned.exited;
  });
  const lines = () =>
    spawned
      .stdout()
      .split('\n')
      .filter((line) => line !== '')
      .flatMap((line) => (line.endsWith('}') ? [JSON.parse(line) as Record<string, unknown>] : []));
  const logs = (event: string) => lines().filter((line) => line.event === event);
  await eventually('started', () => logs('started').length === 1, 40_000);
  return {
    logs,
    reloads: (count: number) =>
      eventually(`${count} reloads`, () => logs('config_reloaded').length === count, NOTICED_MS),
  };
}

const tempDir = async () => {
  const path = await mkdtemp(join(tmpdir(), 'expiry-relay-test-'));
  onTestFinished(() => rm(path, { recursive: true, force: true }));
  return path;
};

describe.concurrent('the file is reloaded by itself when it is', () => {
  const withLevel = (file: RelayFile, level: string) =>
    stringify({ admin: { listen: '127.0.0.1:0' }, ...file, log: { level } });

  it('written in place, and not before it is complete', async () => {
    await using redis = await startRedis();
    await using receiver = await TestReceiver.start();
    const file = fileFor(redis, receiver.url);
    await using relay = await RelayProcess.start(file);
    const text = withLevel({ ...file, routes: routesFor('order', 'cart') }, 'debug');
    // Every part is a valid file, too: without its last route, for instance.
    for (let end = text.length - 100; end < text.length; end += 20) {
      await writeFile(relay.file, text.slice(0, end));
      await sleep(400);
    }
    await writeFile(relay.file, text);
    await reloaded(relay);
    await expire(redis, 'cart:1');
    await arrived(receiver, 'cart:1');
    expect(relay.logs('config_reload_failed')).toEqual([]);
    expect(relay.logs('config_reloaded')).toMatchObject([
      { trigger: 'file', changed: ['routes.cart'] },
    ]);
  });

  it('replaced by an editor, which renames another file', async () => {
    await using redis = await startRedis();
    const file = fileFor(redis, 'http://127.0.0.1:9/');
    await using relay = await RelayProcess.start(file);
    for (const [at, level] of ['info', 'debug'].entries()) {
      await writeFile(`${relay.file}.swp`, withLevel(file, level));
      await rename(`${relay.file}.swp`, relay.file);
      await reloaded(relay, at + 1);
    }
    // As Vim does: the old file is moved away first.
    await rename(relay.file, `${relay.file}~`);
    await writeFile(relay.file, withLevel(file, 'info'));
    await reloaded(relay, 3);
    expect(relay.logs('config_reloaded')).toMatchObject([
      { changed: ['log.level'] },
      { changed: ['log.level'] },
      { changed: ['log.level'] },
    ]);
  });

  it('in a volume of Kubernetes, whose link ..data is swapped', async () => {
    await using redis = await startRedis();
    const file = fileFor(redis, 'http://127.0.0.1:9/');
    await using mounted = await MountedSecret.mount({ 'relay.yaml': withLevel(file, 'info') });
    const relay = await relayAt(mounted.file('relay.yaml'));
    await mounted.swap({ 'relay.yaml': withLevel(file, 'debug') });
    await relay.reloads(1);
    await mounted.swap({ 'relay.yaml': withLevel(file, 'info') });
    await relay.reloads(2);
  });

  it('in a folder that a link in its path leads to, as a mounted one', async () => {
    await using redis = await startRedis();
    const file = fileFor(redis, 'http://127.0.0.1:9/');
    const folder = await tempDir();
    for (const [name, level] of Object.entries({ one: 'info', two: 'debug' })) {
      await mkdir(join(folder, name, 'config'), { recursive: true });
      await writeFile(join(folder, name, 'config', 'relay.yaml'), withLevel(file, level));
    }
    await symlink('one', join(folder, 'release'));
    const relay = await relayAt(join(folder, 'release', 'config', 'relay.yaml'));
    await symlink('two', join(folder, 'next'));
    await rename(join(folder, 'next'), join(folder, 'release'));
    await relay.reloads(1);
    await writeFile(join(folder, 'two', 'config', 'relay.yaml'), withLevel(file, 'info'));
    await relay.reloads(2);
  });
});

describe.concurrent('an endpoint', () => {
  it('that is unchanged keeps its connection, its breaker and its throttle', async () => {
    await using redis = await startRedis();
    await using kept = await TestReceiver.start();
    await using busy = await TestReceiver.start((_, response) => {
      response.writeHead(503, { 'retry-after': '60' }).end();
    });
    const secrets = [TEST_SECRET];
    const endpoints = {
      shop: { url: kept.url, secrets },
      busy: { url: busy.url, secrets },
      dead: { url: 'http://127.0.0.1:9/', secrets, retry: { schedule: ['1s'] } },
    };
    const routes = Object.keys(endpoints).map((to) => ({ name: to, match: `${to}:*`, to }));
    const file = fileFor(redis, kept.url, { endpoints, routes });
    await using relay = await RelayProcess.start(file);
    await expire(redis, 'shop:1', 'busy:1', ...Array.from({ length: 9 }, (_, n) => `dead:${n}`));
    await arrived(kept, 'shop:1');
    await relay.logged('breaker_opened');
    await relay.logged('endpoint_throttled');
    await hangUp(relay, { ...file, routes: [...routes, ...routesFor('cart')] });
    await expire(redis, 'shop:2', 'busy:2');
    await arrived(kept, 'shop:2');
    await expire(redis, 'cart:1');
    await arrived(kept, 'cart:1');
    expect(new Set(kept.requests.map(({ clientPort }) => clientPort)).size).toBe(1);
    expect(busy.requests).toHaveLength(1);
    const [breaker = 0, throttled] = await relay.metrics(
      'expiry_relay_breaker_state{endpoint="dead"}',
      'expiry_relay_endpoint_throttled_seconds{endpoint="busy"}',
    );
    expect(breaker).toBeGreaterThan(0);
    expect(throttled).toBeGreaterThan(40);
  });

  it('that moves to another URL finishes its attempts at the old one, and sends the rest to the new one', async () => {
    await using redis = await startRedis();
    const held: (() => void)[] = [];
    await using before = await TestReceiver.start((_, response) => {
      held.push(() => response.writeHead(204).end());
    });
    await using after = await TestReceiver.start();
    const endpoint = (url: string) => ({
      endpoints: { shop: { url, secrets: [TEST_SECRET], concurrency: 1 } },
    });
    await using relay = await RelayProcess.start(fileFor(redis, '', endpoint(before.url)));
    await expire(redis, 'order:1');
    await eventually('the attempt', () => held.length === 1);
    await expire(redis, 'order:2');
    await hangUp(relay, fileFor(redis, '', endpoint(after.url)));
    for (const answer of held) answer();
    await arrived(after, 'order:2');
    expect(before.keys).toEqual(['order:1']);
    expect(after.keys).toEqual(['order:2']);
    await eventually('two attempts', () => relay.logs('attempt').length === 2);
    expect(relay.logs('attempt')).toMatchObject([
      { key: 'order:1', outcome: 'accepted' },
      { key: 'order:2', outcome: 'accepted' },
    ]);
  });

  it('that is removed finishes its attempts, and its queue waits for it to return', async () => {
    await using redis = await startRedis();
    const held: (() => void)[] = [];
    await using receiver = await TestReceiver.start((_, response) => {
      held.push(() => response.writeHead(204).end());
    });
    await using other = await TestReceiver.start();
    const secrets = [TEST_SECRET];
    const shop = { url: receiver.url, secrets, concurrency: 1 };
    const file = fileFor(redis, '', { endpoints: { shop, other: { url: other.url, secrets } } });
    await using relay = await RelayProcess.start(file);
    await expire(redis, 'order:1');
    await eventually('the attempt', () => held.length === 1);
    await expire(redis, 'order:2');
    await eventually('both wait', async () => {
      return (await relay.metric('expiry_relay_outbox_pending{endpoint="shop"}')) === 2;
    });
    await hangUp(relay, {
      ...file,
      endpoints: { other: { url: other.url, secrets } },
      routes: [{ name: 'order', match: 'order:*', to: 'other' }],
    });
    expect(await relay.metric('expiry_relay_outbox_pending{endpoint="shop"}')).toBeNaN();
    held[0]?.();
    await eventually('the attempt ends', () => relay.logs('attempt').length === 1);
    await expire(redis, 'order:3');
    await arrived(other, 'order:3');
    expect(receiver.keys).toEqual(['order:1']);
    receiver.respond = (_, response) => void response.writeHead(204).end();
    await hangUp(relay, file);
    await arrived(receiver, 'order:2');
    expect(receiver.keys).toEqual(['order:1', 'order:2']);
    expect(relay.logs('attempt').every(({ outcome }) => outcome === 'accepted')).toBe(true);
  });

  it('that answered 410 is tried again by SIGHUP or when it changes, not by a reload for other reasons', async () => {
    await using redis = await startRedis();
    await using receiver = await TestReceiver.start((_, response) => {
      response.writeHead(410).end();
    });
    const file = fileFor(redis, receiver.url);
    await using relay = await RelayProcess.start(file);
    const goneBy = async (key: string) => {
      await expire(redis, key);
      await eventually('the dead letter', () =>
        relay.logs('attempt').some((line) => line.key === key && line.disposition === 'dead'),
      );
    };
    await goneBy('order:1');
    receiver.respond = (_, response) => void response.writeHead(204).end();
    await relay.rewrite({ ...file, shutdown: { grace: '9s' } });
    await reloaded(relay, 1);
    await expire(redis, 'order:2');
    await relay.logged('dead_unattempted');
    expect(receiver.keys).toEqual(['order:1']);
    relay.kill('SIGHUP');
    await relay.logged('endpoint_retried');
    await expire(redis, 'order:3');
    await arrived(receiver, 'order:3');
    expect(await relay.metric('expiry_relay_endpoint_gone{endpoint="shop"}')).toBe(0);
    const replay = ['dead', 'replay', '--endpoint', 'shop', '--reason', 'gone'];
    const { exited, stderr } = spawnMain([...replay, '-c', relay.file]);
    expect({ ...(await exited), stderr: stderr() }).toMatchObject({ code: 0 });
    await arrived(receiver, 'order:1', 'order:2');

    receiver.respond = (_, response) => void response.writeHead(410).end();
    await goneBy('order:4');
    receiver.respond = (_, response) => void response.writeHead(204).end();
    const shop = { url: receiver.url, secrets: [TEST_SECRET], timeout: '9s' };
    await relay.rewrite({ ...file, endpoints: { shop } });
    await reloaded(relay, 3);
    await expire(redis, 'order:5');
    await arrived(receiver, 'order:5');
  });
});

describe('POST /api/v1/reload', () => {
  it('reloads, with the login of the file, whose password may be changed', async () => {
    await using redis = await startRedis();
    await using receiver = await TestReceiver.start();
    await using folder = await MountedSecret.mount({ password: 'first\n' });
    const page = { username: 'ops', password_file: folder.file('password') };
    const file = fileFor(redis, receiver.url, { admin: { listen: '127.0.0.1:0', page } });
    await using relay = await RelayProcess.start(file);
    const post = async (login: string) => {
      const { statusCode, body } = await request(`${await relay.adminUrl()}/api/v1/reload`, {
        method: 'POST',
        headers: { authorization: `Basic ${btoa(login)}` },
      });
      return [statusCode, await body.json()];
    };
    await relay.rewrite({ ...file, routes: routesFor('cart') });
    expect(await post('ops:first')).toEqual([
      200,
      { result: 'applied', changed: ['routes.order', 'routes.cart'] },
    ]);
    await expire(redis, 'cart:1');
    await arrived(receiver, 'cart:1');
    await relay.rewrite({ ...file, routes: [] });
    expect(await post('ops:first')).toMatchObject([422, { result: 'invalid' }]);
    await relay.rewrite({ ...file, redis: { url: 'redis://127.0.0.1:1' } });
    expect(await post('ops:first')).toMatchObject([409, { changed: ['redis.url'] }]);
    await folder.swap({ password: 'second' });
    await relay.rewrite(file);
    const { changed } = await reloaded(relay, 2);
    expect(changed).toContain('admin.page.password_file');
    expect((await post('ops:first'))[0]).toBe(401);
    expect(await post('ops:second')).toEqual([200, { result: 'applied', changed: [] }]);
    expect(relay.stdout).not.toContain('second');
  });
});

describe.concurrent('replicas', () => {
  it('may reload one after the other: the newest configuration leads, and its digest is published', async () => {
    await using redis = await startRedis();
    await using receiver = await TestReceiver.start();
    const file = fileFor(redis, receiver.url);
    const next = { ...file, routes: routesFor('order', 'cart') };
    await using one = await RelayProcess.start(file);
    await eventually('watching', () => one.watches);
    await using two = await RelayProcess.start(file);
    await hangUp(two, next);
    await eventually('the newer one watches', () => two.watches, 15_000);
    await one.logged('configuration_superseded');
    await expire(redis, 'cart:1', 'order:1');
    await arrived(receiver, 'cart:1', 'order:1');
    await hangUp(one, next);
    await one.logged('configuration_current', 15_000);
    await one.ready();
    expect(await one.metric('expiry_relay_configurations')).toBe(1);
    // The holder itself reloads, and goes on.
    const last = { ...file, routes: routesFor('cart') };
    await hangUp(two, last);
    await two.logged('configuration_leading');
    await hangUp(one, last);
    await expire(redis, 'cart:2', 'order:2');
    await arrived(receiver, 'cart:2');
    expect(receiver.keys).not.toContain('order:2');
    expect(two.watches).toBe(true);
  }, 60_000);
});

describe('twenty reloads during 5,000 expirations', () => {
  it('lose and repeat nothing', async () => {
    const keys = 5_000;
    await using redis = await startRedis();
    await using receiver = await TestReceiver.start();
    await using second = await TestReceiver.start();
    const secrets = [TEST_SECRET];
    const fileOf = (n: number) =>
      fileFor(redis, '', {
        endpoints: {
          shop: { url: receiver.url, secrets, concurrency: 16 + n },
          log: { url: second.url, secrets },
          [`other-${n % 3}`]: { url: second.url, secrets },
        },
        routes: [
          { name: 'order', match: 'order:*', to: ['shop', 'log'] },
          ...routesFor(`unused-${n}`),
        ],
        log: { level: n % 2 === 0 ? 'info' : 'debug' },
      });
    await using relay = await RelayProcess.start(fileOf(0));
    await eventually('watching', () => relay.watches);
    await withRedis(redis, async (client) => {
      const pipeline = client.pipeline();
      for (let n = 0; n < keys; n += 1) {
        pipeline.set(`order:${n}`, '', 'PX', 500 + Math.floor((n * 4_000) / keys));
      }
      await pipeline.exec();
    });
    for (let n = 1; n <= 20; n += 1) {
      await hangUp(relay, fileOf(n));
      await sleep(100);
    }
    for (const one of [receiver, second]) {
      await eventually('all webhooks', () => new Set(one.keys).size === keys, 30_000);
    }
    expect(relay.logs('config_reload_failed')).toEqual([]);
    expect(await relay.metric(SUCCESSFUL)).toBe(1);
    const drained = async () => (await relay.metric('expiry_relay_tracked_deadlines')) === 0;
    await eventually('nothing is tracked', drained, 15_000);
    for (const one of [receiver, second]) expect(one.requests).toHaveLength(keys);
    expect(
      await relay.metric(
        'expiry_relay_expirations_total{route="order",detected_by="notification"}',
      ),
    ).toBe(keys);
  }, 90_000);
});
