/** The steps of docs/getting-started.md, run as they are. */
import { symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { freePort } from '../../scripts/lib/free-port.mjs';
import { tempFolder } from '../support/cli.js';
import { blockOf, ROOT } from '../support/doc-pages.js';
import { docShell, missingLines, startProcess } from '../support/doc-shell.js';
import { TEST_SECRET } from '../support/domain.js';
import { eventually } from '../support/eventually.js';
import { hangUpAmid, post, signed } from '../support/examples/signed.js';
import { RelayProcess, simpleFile } from '../support/relay-process.js';
import { sharedRedis } from '../support/shared-redis.js';

const PAGE = 'docs/getting-started.md';

const shared = sharedRedis();

describe('the guide', () => {
  it('leads to a verified webhook, with the outputs that it shows', async () => {
    const port = await freePort();
    const admin = { listen: `127.0.0.1:${await freePort()}` };
    const file = { ...parse(blockOf(PAGE, 'yaml', '${REDIS_URL')), admin };
    await using shell = await docShell(shared.server.url, {
      'relay.yaml': JSON.stringify(file).replace(':8080', `:${port}`),
    });
    const inTurn = [
      blockOf(PAGE, 'sh', 'expiry-relay match'),
      `${blockOf(PAGE, 'sh', 'expiry-relay listen').trim()} &\n`,
      `${blockOf(PAGE, 'sh', 'expiry-relay run').trim()} &\n`,
      'until expiry-relay healthcheck --ready; do sleep 1; done\n',
      blockOf(PAGE, 'sh', 'expiry-relay send'),
      'wait\n',
    ];
    const script = inTurn.join('').replace('--port 8080', `--port ${port}`);
    await using commands = shell.start(script);
    const lines = await eventually(
      'both webhooks',
      () => {
        const found = commands.run.output.match(/^\{"received_at".*$/gm);
        return found?.length === 2 ? found : null;
      },
      30_000,
    );
    const webhooks = lines.map((line) => JSON.parse(line));
    expect(webhooks.map(({ verified }) => verified)).toEqual([true, true]);
    expect(webhooks.map(({ body }) => body.data.test ?? false)).toEqual([true, false]);
    for (const mark of ['relay.yaml: valid', 'listening on', 'accepted with 204']) {
      expect(missingLines(blockOf(PAGE, 'text', mark), commands.run.output)).toEqual([]);
    }
    for (const event of ['listening', 'watching']) {
      expect(commands.run.output).toContain(`"event":"${event}"`);
    }
  }, 40_000);

  it('shows the output of doctor', async () => {
    const port = await freePort();
    const file = blockOf(PAGE, 'yaml', '${REDIS_URL').replace(':8080', `:${port}`);
    await using shell = await docShell(shared.server.url, { 'relay.yaml': file });
    await shared.client.config('SET', 'notify-keyspace-events', '');
    const fill = "for i = 1, 10000 do redis.call('SET', 'k' .. i, '', 'EX', 3600) end";
    await shared.client.eval(fill, 0);
    await using doctor = shell.start(blockOf(PAGE, 'sh', 'expiry-relay doctor'), {
      SHOP_WEBHOOK_SECRET: TEST_SECRET,
    });
    expect(await doctor.exited).toBe(1);
    expect(missingLines(blockOf(PAGE, 'text', '[+] redis'), doctor.run.output)).toEqual([]);
  });

  it('has a receiver that verifies, and rejects forged webhooks', async () => {
    const port = await freePort();
    await using folder = await tempFolder({ 'receiver.mjs': blockOf(PAGE, 'js', 'createServer') });
    symlinkSync(join(ROOT, 'node_modules'), join(folder.path, 'node_modules'));
    const env = { PATH: process.env.PATH, PORT: String(port), SHOP_WEBHOOK_SECRET: TEST_SECRET };
    await using receiver = startProcess(process.execPath, ['receiver.mjs'], folder.path, env);
    const forged = await eventually('the receiver', () =>
      fetch(`http://127.0.0.1:${port}`, { method: 'POST', body: '{}' }).catch(() => null),
    );
    expect(forged.status).toBe(401);
    expect(await post(`http://127.0.0.1:${port}`, signed({ body: '{}' }))).toBe(500);
    const test = JSON.stringify({ data: { params: { id: '42' }, test: true } });
    expect(await post(`http://127.0.0.1:${port}`, signed({ body: test }))).toBe(204);
    await hangUpAmid(`http://127.0.0.1:${port}`, signed());
    await using relay = await RelayProcess.start(
      simpleFile(shared.server.url, `http://127.0.0.1:${port}`, {
        route: { match: 'order:{id}:unpaid' },
      }),
    );
    await shared.client.set('order:43:unpaid', '', 'PX', 10);
    await eventually('the webhook', () => receiver.run.output.includes('cancel order 43'));
    expect(await relay.logged('attempt')).toMatchObject({ outcome: 'accepted' });
    expect(receiver.run.output).not.toContain('cancel order 42');
  });
});
