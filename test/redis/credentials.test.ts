/** Passwords and certificates that change while the relay runs. */
import { describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { type RunningRedis, startRedis } from '../../scripts/lib/redis-server.mjs';
import type { Settings } from '../../src/model/vocabulary.js';
import { type Certificate, selfSigned } from '../support/certificate.js';
import { startCli, tempFolder } from '../support/cli.js';
import { failureAt, openStateOf, settingsOf } from '../support/connecting.js';
import { eventually } from '../support/eventually.js';
import { MountedSecret } from '../support/mounted-secret.js';
import { startTlsRedis } from '../support/tls-redis.js';
import { withRedis } from '../support/with-redis.js';

/** Makes this the only password of the user `relay`, and closes the user's connections. */
const rotate = (redis: RunningRedis, password: string) =>
  withRedis(redis, async (client) => {
    await client.call('ACL', 'SETUSER', 'relay', 'on', 'resetpass', `>${password}`, '+@all', '~*');
    await client.call('CLIENT', 'KILL', 'USER', 'relay');
  });

const loginOf = (redis: RunningRedis, mounted: MountedSecret): Promise<Settings> =>
  settingsOf({
    redis: {
      url: `redis://127.0.0.1:${redis.port}`,
      username: 'relay',
      password_file: mounted.file('password'),
    },
  });

const DEFECTIVE = [
  ['right\n\n', 'the password ends with a newline'],
  ['"right"', 'the password is enclosed in double quotes'],
  ['ri\u200bght', 'the password contains a zero width space (U+200B) at character 3'],
] as const;

describe('a password file', () => {
  it('is read again before each login, also of the permanent connection to the state', async () => {
    await using redis = await startRedis();
    await using mounted = await MountedSecret.mount({ password: 'first\n' });
    await rotate(redis, 'first');
    const settings = await loginOf(redis, mounted);
    expect(await failureAt(settings)).toBeNull();
    await using opened = openStateOf(settings);
    const { state } = opened;
    await state.ready(AbortSignal.timeout(20_000));

    await mounted.swap({ password: 'second\n' });
    await rotate(redis, 'second');
    expect(await failureAt(settings)).toBeNull();
    await eventually('the state again', () => state.connections === 2 && state.problem === null);
    expect(opened.stale).toEqual([]);
  });

  it('whose password the server does not accept yet, or no longer, causes retries', async () => {
    await using redis = await startRedis();
    await using mounted = await MountedSecret.mount({ password: 'first' });
    await rotate(redis, 'first');
    const settings = await loginOf(redis, mounted);
    const [first] = [await failureAt(settings)];
    expect(first).toBeNull();
    await using opened = openStateOf(settings);
    const { state } = opened;
    await state.ready(AbortSignal.timeout(20_000));

    await rotate(redis, 'second');
    const refused = await failureAt(settings);
    expect(refused?.message).toMatch(
      /rejects the user name or password .*waits for the new password/,
    );
    expect(refused?.retryable).toBe(true);
    await eventually('trouble', () => state.problem?.includes('waits for the new password'));
    await mounted.swap({ password: 'second' });
    await eventually('the state again', () => state.problem === null);
    expect(await failureAt(settings)).toBeNull();
  });

  it.each(DEFECTIVE)(
    'that does not log in fails the start, and is described: %j',
    async (password, defect) => {
      await using redis = await startRedis();
      await using mounted = await MountedSecret.mount({ password });
      await rotate(redis, 'right');
      const settings = await loginOf(redis, mounted);
      const { message } = (await failureAt(settings)) ?? {};
      expect(message).toContain(`rejects the user name or password (WRONGPASS`);
      expect(message).toContain(`(${defect})`);
      await using opened = openStateOf(settings);
      await expect(opened.state.ready(AbortSignal.timeout(20_000))).rejects.toThrow(`(${defect})`);
      // It is in the error that fails the start; the log would only repeat it.
      expect(opened.troubles).toEqual([]);
    },
  );

  it.each(DEFECTIVE)(
    'that does not log in while the relay runs is described once: %j',
    async (password, defect) => {
      await using redis = await startRedis();
      await using mounted = await MountedSecret.mount({ password: 'right' });
      await rotate(redis, 'right');
      await using opened = openStateOf(await loginOf(redis, mounted));
      const { state, troubles } = opened;
      await state.ready(AbortSignal.timeout(20_000));
      await mounted.swap({ password });
      await rotate(redis, 'right');
      await eventually('trouble', () => state.problem?.includes(`(${defect})`));
      await mounted.swap({ password: 'right' });
      await eventually('the state again', () => state.problem === null);
      expect(troubles).toEqual([expect.stringContaining(`(${defect})`)]);
    },
  );

  it('that was never valid fails the start', async () => {
    await using redis = await startRedis();
    await using mounted = await MountedSecret.mount({ password: 'wrong' });
    await rotate(redis, 'right');
    expect((await failureAt(await loginOf(redis, mounted)))?.retryable).toBe(false);
  });

  it('that is unusable leaves the last password in use, and is logged once', async () => {
    await using redis = await startRedis();
    await using mounted = await MountedSecret.mount({ password: 'first' });
    await rotate(redis, 'first');
    const settings = await loginOf(redis, mounted);
    const said: string[] = [];
    const connectAgain = () => failureAt(settings, (problem) => said.push(problem));
    for (const held of [{}, {}, { password: '\n' }] as Record<string, string>[]) {
      await mounted.swap(held);
      expect(await connectAgain()).toBeNull();
    }
    expect(said).toEqual([
      expect.stringContaining('redis.password_file: expected a readable file'),
    ]);
    await mounted.swap({ password: 'first' });
    expect(await connectAgain()).toBeNull();
    await mounted.swap({ password: '' });
    expect(await connectAgain()).toBeNull();
    expect(said).toEqual([expect.anything(), expect.stringContaining('found an empty file')]);
    expect(said.join()).not.toContain('first');
  });
});

it('client certificates are read again before each connection, and a mismatched pair is not used', async () => {
  await using server = await selfSigned('DNS:localhost');
  await using first = await selfSigned('DNS:first');
  await using second = await selfSigned('DNS:second');
  const held = ({ cert, key }: Certificate) => ({ 'tls.crt': cert, 'tls.key': key });
  await using mounted = await MountedSecret.mount(held(first));
  await using redis = await startTlsRedis(server, { clients: [first] });
  const tls = {
    ca_file: server.certFile,
    cert_file: mounted.file('tls.crt'),
    key_file: mounted.file('tls.key'),
  };
  const url = `rediss://localhost:${redis.port}`;
  const settings = await settingsOf({ redis: { url, tls } });
  await using opened = openStateOf(settings);
  await opened.state.ready(AbortSignal.timeout(20_000));
  await mounted.swap({ 'tls.crt': second.cert, 'tls.key': first.key });
  const said: string[] = [];
  expect(await failureAt(settings, (problem) => said.push(problem))).toBeNull();
  expect(said).toEqual([expect.stringContaining("key of cert_file's first certificate")]);
  await mounted.swap(held(second));
  expect((await failureAt(settings))?.message).toContain('CN=expiry-relay-test second');
  await mounted.swap(held(first));
  await withRedis(redis.plain, (client) => client.call('CLIENT', 'KILL', 'TYPE', 'NORMAL'));
  await eventually('the state again', () => opened.state.connections === 2);
  expect(await failureAt(settings)).toBeNull();
});

it('a state with its own password shares the certificates of redis, and follows changes of both', async () => {
  await using server = await selfSigned('DNS:localhost');
  await using mounted = await MountedSecret.mount({ password: 'first', 'ca.pem': server.cert });
  await using redis = await startTlsRedis(server, { clients: null });
  await rotate(redis.plain, 'first');
  const settings = await settingsOf({
    redis: { url: `rediss://localhost:${redis.port}`, tls: { ca_file: mounted.file('ca.pem') } },
    state: { username: 'relay', password_file: mounted.file('password') },
  });
  await using opened = openStateOf(settings);
  await opened.state.ready(AbortSignal.timeout(20_000));
  await mounted.swap({ password: 'second', 'ca.pem': server.cert });
  await rotate(redis.plain, 'second');
  await eventually('the state again', () => opened.state.connections === 2);
});

describe('a login that is refused', () => {
  it.each([
    ['user name', 'relay%20', 'right', '(the user name ends with a blank)'],
    ['password', 'relay', 'right%0A', '(the password ends with a newline)'],
  ])('is also described by doctor: the %s', async (_, username, password, defect) => {
    await using redis = await startRedis();
    await rotate(redis, 'right');
    const url = `redis://${username}:${password}@127.0.0.1:${redis.port}`;
    const file = {
      redis: { url },
      endpoints: { shop: { url: 'http://127.0.0.1:9', secrets: 'none' } },
      routes: [{ name: 'all', match: '*', to: 'shop' }],
    };
    await using folder = await tempFolder({ 'relay.yaml': stringify(file) });
    const run = startCli(['doctor'], { cwd: folder.path });
    expect(await run.done).toBe(1);
    expect(run.stdout.text).toContain(defect);
  });

  it('is not described where it looks valid', async () => {
    await using redis = await startRedis();
    await rotate(redis, 'right');
    const settings = await settingsOf({
      redis: { url: `redis://relay:wrong@127.0.0.1:${redis.port}` },
    });
    const { message } = (await failureAt(settings)) ?? {};
    expect(message).toMatch(/redis\.password_file \(or redis\.password\)$/);
  });
});
