/** Dead letters of a real relay, shown, replayed and dropped beside it. */
import { hostname } from 'node:os';
import { Redis } from 'ioredis';
import { describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { startRedis } from '../../scripts/lib/redis-server.mjs';
import { cli, tempFolder } from '../support/cli.js';
import { eventually } from '../support/eventually.js';
import { RelayProcess, simpleFile } from '../support/relay-process.js';
import { sharedRedis } from '../support/shared-redis.js';
import { assertVerified, TestReceiver } from '../support/test-receiver.js';

const shared = sharedRedis();

const ENDPOINT = { retry: { schedule: ['100ms'], jitter: 0 } };

const LATENESS_COUNT = 'expiry_relay_lateness_seconds_count{route="all"}';

/** The command `dead`, with the file of the relay. */
async function commandFor(file: object) {
  const folder = await tempFolder({ 'relay.yaml': stringify(file) });
  const dead = async (...words: string[]) => cli(['dead', ...words], { cwd: folder.path });
  return {
    dead,
    doctor: () => cli(['doctor'], { cwd: folder.path }),
    /** The dead letters, once there are this many. */
    letters: (count: number) =>
      eventually(`${count} dead letters`, async () => {
        const { stdout } = await dead('list', '--json');
        const lines = stdout.split('\n').filter((line) => line !== '');
        const rows = lines.map((line) => JSON.parse(line) as Record<string, unknown>);
        return rows.length === count ? rows : null;
      }),
    [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose](),
  };
}

const refusing = () =>
  TestReceiver.start((_, response) => void response.writeHead(500).end('no disk'));

describe('dead letters', () => {
  it('are replayed to a receiver that has been fixed, with the same id and body', async () => {
    await using receiver = await refusing();
    const file = simpleFile(shared.server.url, receiver.url, { endpoint: ENDPOINT });
    await using relay = await RelayProcess.start(file);
    await using command = await commandFor(file);
    await shared.client.set('order:1', '', 'PX', 500);
    const [letter] = await command.letters(1);
    const [first, second] = receiver.requests;
    expect(letter).toMatchObject({
      id: first?.id,
      endpoint: 'shop',
      route: 'all',
      reason: 'exhausted',
      attempts: 2,
      key: 'order:1',
      body_bytes: first?.raw.length,
    });
    expect(second?.id).toBe(first?.id);
    const { stdout: body } = await command.dead('show', String(letter?.id), '--body');
    expect(body).toBe(first?.raw.toString());
    const { stdout: shown } = await command.dead('show', String(letter?.id), '--json');
    const diedAtMs = Date.parse(String(letter?.died_at));
    const history = (JSON.parse(shown) as { attempt_history: readonly { at: string }[] })
      .attempt_history;
    const attempt = { outcome: 'HTTP 500', duration_ms: expect.any(Number) };
    expect(history).toMatchObject([attempt, attempt]);
    const [firstAtMs = 0, secondAtMs = 0] = history.map(({ at }) => Date.parse(at));
    expect(secondAtMs - firstAtMs).toBeGreaterThan(90);
    expect(secondAtMs).toBeLessThanOrEqual(diedAtMs);

    receiver.respond = (_, response) => void response.writeHead(204).end();
    const late = await relay.metric(LATENESS_COUNT);
    expect(late).toBe(letter?.expired_at === null ? 0 : 1);
    expect(await command.dead('replay', String(letter?.id))).toMatchObject({
      code: 0,
      stdout: 'shop: 1 replayed\n',
      stderr: '',
    });
    const again = await eventually('the webhook', () => receiver.requests[2]);
    assertVerified(again);
    expect(again.id).toBe(first?.id);
    expect(again.raw).toEqual(first?.raw);
    await command.letters(0);
    const accepted = await eventually('the attempt', () =>
      relay.logs('attempt').find(({ outcome }) => outcome === 'accepted'),
    );
    expect(accepted).toMatchObject({ id: first?.id, attempt: 1 });
    // Its lateness is counted once, even after replays.
    expect(await relay.metric(LATENESS_COUNT)).toBe(late);
  });

  it('of an endpoint that answered 410 are replayed once the replica that received it has restarted', async () => {
    await using receiver = await TestReceiver.start(
      (_, response) => void response.writeHead(410).end(),
    );
    await shared.client.flushall();
    const file = simpleFile(shared.server.url, receiver.url, { endpoint: ENDPOINT });
    await using relay = await RelayProcess.start(file);
    await using command = await commandFor(file);
    await shared.client.set('order:1', '', 'PX', 10);
    await command.letters(1);
    receiver.respond = (_, response) => void response.writeHead(204).end();
    const refused = await command.dead('replay', '--all');
    expect(refused).toMatchObject({ code: 1, stdout: '' });
    expect(refused.stderr).toContain(
      `is disabled in ${hostname()}:${relay.pid}. Send SIGHUP to ${hostname()}:${relay.pid}, then replay\n`,
    );
    expect(await command.letters(1)).toMatchObject([{ reason: 'gone' }]);
    expect(await relay.get('/readyz?verbose')).toMatchObject({
      status: 200,
      text: expect.stringContaining('[!] endpoints: returned 410: shop; '),
    });
    const { code, stdout } = await command.doctor();
    expect(code).toBe(1);
    expect(stdout).toMatch(
      /^\[-\] endpoint shop +responded 410 \(gone\): disabled in .* until a reload/m,
    );
    expect(stdout).toMatch(/; then run:\nexpiry-relay dead replay --endpoint shop --reason gone\n/);
    await relay.stop();
    await using _second = await RelayProcess.start(file);
    expect(await command.dead('replay', '--all')).toMatchObject({ code: 0, stderr: '' });
    await eventually('the webhook', () => receiver.requests.length === 2);
    await command.letters(0);
  });

  it('survive a restart of the relay and of Redis, and are dropped permanently', async () => {
    await using redis = await startRedis({
      args: ['--appendonly', 'yes', '--appendfsync', 'always'],
    });
    await using receiver = await refusing();
    const file = simpleFile(redis.url, receiver.url, { endpoint: ENDPOINT });
    await using command = await commandFor(file);
    const client = new Redis(redis.url, { protocol: 2 });
    await using first = await RelayProcess.start(file);
    await client.set('order:1', '', 'PX', 10);
    client.disconnect();
    const before = await command.letters(1);
    await first.stop('SIGKILL');
    await redis.kill('SIGKILL');
    await redis.restart();
    await using second = await RelayProcess.start(file);
    expect(await command.letters(1)).toEqual(before);
    const attempts = receiver.requests.length;

    expect((await command.dead('drop', '--all')).stdout).toBe('shop: 1 dropped\n');
    await command.letters(0);
    const series = 'expiry_relay_dead_letters{endpoint="shop"}';
    expect(await second.metric(series)).toBe(0);
    expect(await command.dead('replay', '--all')).toMatchObject({
      code: 0,
      stdout: 'no dead letters match; nothing replayed\n',
    });
    expect(receiver.requests).toHaveLength(attempts);
  });
});
