// cspell:ignore shpo
/** `status`, `pause` and `resume`. */
import { stripVTControlCharacters } from 'node:util';
import { describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { endpointKeys, leaseKey } from '../../src/state/format.js';
import { cli, startCli, tempFolder } from '../support/cli.js';
import { aDeadLetter, keepRunning, PREFIX, storeDeadLetters } from '../support/dead-letters.js';
import { TEST_SECRET } from '../support/domain.js';
import { eventually } from '../support/eventually.js';
import { sharedRedis } from '../support/shared-redis.js';

const shared = sharedRedis();

async function aFolder(more: object = {}) {
  const endpoint = { url: 'http://127.0.0.1:9/hooks', secrets: [TEST_SECRET] };
  const file = {
    redis: { url: shared.server.url },
    endpoints: { shop: endpoint, crm: endpoint },
    routes: [{ name: 'cancel', match: 'order:{id}', to: ['shop', 'crm'] }],
    ...more,
  };
  const folder = await tempFolder({ 'relay.yaml': stringify(file) });
  return { ...folder, run: (...words: string[]) => cli(words, { cwd: folder.path }) };
}

const rowOf = (stdout: string, endpoint: string) =>
  stdout.split('\n').find((line) => line.startsWith(`${endpoint} `)) ?? '';

describe('pause and resume', () => {
  it('say what they did, and do nothing twice', async () => {
    await using folder = await aFolder();
    const first = await folder.run('pause', 'shop', '--reason', 'moving the database');
    expect(first).toEqual({
      code: 0,
      stdout: 'paused shop. Its webhooks wait. To resume it, run: expiry-relay resume shop\n',
      stderr: '',
    });
    const again = await folder.run('pause', 'shop', '--reason', 'another');
    expect(again.code).toBe(0);
    expect(again.stdout).toMatch(
      /^shop was already paused since 20\S+Z by \S+@\S+: moving the database\. To resume/,
    );
    expect((await folder.run('resume', 'shop')).stdout).toBe('resumed shop\n');
    expect(await folder.run('resume', 'shop')).toEqual({
      code: 0,
      stdout: 'shop was not paused\n',
      stderr: '',
    });
  });

  it('refuse an endpoint that nobody has, and a reason that is too long', async () => {
    await using folder = await aFolder();
    for (const name of ['pause', 'resume']) {
      const { code, stderr } = await folder.run(name, 'shpo');
      expect(code).toBe(2);
      expect(stderr).toMatch(/endpoint.*did you mean "?shop/);
    }
    const { code, stderr } = await folder.run('pause', 'shop', '--reason', 'x'.repeat(501));
    expect([code, stderr]).toEqual([2, expect.stringContaining('at most 500 characters')]);
    expect(await shared.client.exists(endpointKeys(PREFIX, 'shop').throttle)).toBe(0);
  });

  it('also know an endpoint that only the state has', async () => {
    await using folder = await aFolder();
    await storeDeadLetters(shared.client, [aDeadLetter({ delivery: { endpoint: 'former' } })]);
    expect((await folder.run('pause', 'former')).code).toBe(0);
  });

  it('say that a state in memory cannot be reached', async () => {
    await using folder = await aFolder({ state: { kind: 'memory' } });
    for (const words of [['pause', 'shop'], ['resume', 'shop'], ['status']]) {
      const { code, stderr } = await folder.run(...words);
      expect([code, stderr]).toEqual([1, expect.stringContaining('set state.kind: redis')]);
    }
  });
});

describe('status', () => {
  it('shows each endpoint, and why it gets no webhooks', async () => {
    await using folder = await aFolder();
    await keepRunning(shared.client, 'shop');
    await storeDeadLetters(shared.client, [aDeadLetter({ delivery: { endpoint: 'former' } })]);
    await shared.client.hset(leaseKey(PREFIX), 'token', 'b8a6e1f00c11-1');
    const first = (await folder.run('status')).stdout;
    expect(first).toMatch(/^no relay is running; 0 keys tracked\n\nENDPOINT +PENDING +OLDEST DUE/);
    expect(rowOf(first, 'shop')).toMatch(/^shop +0 +- +0 +delivering$/);
    expect(rowOf(first, 'crm')).toMatch(/ no running relay has it$/);
    expect(rowOf(first, 'former')).toMatch(/^former +0 +- +1 +no running relay has it$/);
    const { throttle } = endpointKeys(PREFIX, 'shop');
    await shared.client.hset(throttle, { until: Date.now() + 600_000, length: 600_000 });
    expect(rowOf((await folder.run('status')).stdout, 'shop')).toMatch(
      / throttled for \d+ (s|min) \(Retry-After\)$/,
    );
    await folder.run('pause', 'shop', '--reason', 'moving');
    expect(rowOf((await folder.run('status')).stdout, 'shop')).toMatch(
      / paused since 20\S+Z by \S+: moving$/,
    );
  });

  it('shows a pause that no relay has written, whatever it contains', async () => {
    await using folder = await aFolder();
    const { throttle } = endpointKeys(PREFIX, 'shop');
    const why = `\u001b[2J${'y'.repeat(10_000)}`;
    for (const at of ['soon', '9e99', '-1', '', '99999999999999999999']) {
      await shared.client.hset(throttle, {
        paused_at: at,
        paused_by: Buffer.from([0xff]),
        paused_for: why,
      });
      const { code, stdout } = await folder.run('status');
      expect(code).toBe(0);
      expect(rowOf(stdout, 'shop')).toMatch(/ paused since .* by unknown: \\x1b/);
      expect(stdout.length).toBeLessThan(3_000);
    }
    expect((await folder.run('resume', 'shop')).stdout).toBe('resumed shop\n');
  });

  it('with --watch shows it again and again, on a terminal in the same place, until a signal', async () => {
    await using folder = await aFolder();
    const run = startCli(['status', '--watch'], { cwd: folder.path, isTTY: true });
    await eventually('it is shown twice', () => run.stdout.text.split('ENDPOINT').length > 2);
    run.stop();
    expect(await run.done).toBe(0);
    expect(run.stdout.text.startsWith('\u001b[H\u001b[2J')).toBe(true);
    expect(stripVTControlCharacters(run.stdout.text)).toContain('no relay is running');
  });
});
