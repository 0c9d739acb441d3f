/** The steps of docs/getting-started.md, run as they are. */
import { symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it, vi } from 'vitest';
import { parse } from 'yaml';
import { freePort } from '../../scripts/lib/free-port.mjs';
import { tempFolder } from '../support/cli.js';
import { blockOf, ROOT } from '../support/doc-pages.js';
import { docShell, missingLines, ON_TERMINAL, startProcess } from '../support/doc-shell.js';
import { TEST_SECRET } from '../support/domain.js';
import { eventually } from '../support/eventually.js';
import { hangUpAmid, post, signed } from '../support/examples/signed.js';
import { RelayProcess, simpleFile } from '../support/relay-process.js';
import { sharedRedis } from '../support/shared-redis.js';

const PAGE = 'docs/getting-started.md';

const shared = sharedRedis();

describe('the guide', () => {
  it('leads to a verified webhook and to a receiver, with the outputs that it shows', async () => {
    const port = await freePort();
    const admin = { listen: `127.0.0.1:${await freePort()}` };
    const file = { ...parse(blockOf(PAGE, 'yaml', '${REDIS_URL')), admin };
    await using shell = await docShell(shared.server.url, {
      'relay.yaml': JSON.stringify(file).replace(':8080', `:${port}`),
      'receiver.mjs': blockOf(PAGE, 'js', 'createServer'),
    });
    symlinkSync(join(ROOT, 'node_modules'), join(shell.path, 'node_modules'));
    const missing = (run: { output: string }, mark: string) =>
      missingLines(blockOf(PAGE, 'text', mark), run.output);
    const shows = (run: { output: string }, mark: string) =>
      vi.waitFor(() => expect(missing(run, mark)).toEqual([]), { timeout: 20_000 });

    const prepare = `${blockOf(PAGE, 'sh', 'expiry-relay match')}echo $SHOP_WEBHOOK_SECRET\n`;
    await using first = shell.start(prepare);
    expect(await first.exited).toBe(0);
    await shows(first.run, 'content-type: application/json');
    const [secret = ''] = /^whsec_\S+$/m.exec(first.run.output) ?? [];
    const env = { SHOP_WEBHOOK_SECRET: secret };

    const listen = blockOf(PAGE, 'sh', 'expiry-relay listen').replace('8080', String(port));
    await using relay = shell.start(blockOf(PAGE, 'sh', 'expiry-relay run'), {
      ...env,
      ...ON_TERMINAL,
    });
    {
      await using receiver = shell.start(listen, { ...env, ...ON_TERMINAL });
      await shows(receiver.run, 'listening on');
      await shows(relay.run, 'INFO  watching');
      await using send = shell.start(blockOf(PAGE, 'sh', 'expiry-relay send'), env);
      expect(await send.exited).toBe(0);
      await shows(send.run, 'accepted with 204');
      await shows(receiver.run, '✓ verified');
      await shows(relay.run, 'INFO  attempt');
      // What it measures differs while the machine is busy: round trips, the clocks.
      await vi.waitFor(
        async () => {
          await using doctor = shell.start(blockOf(PAGE, 'sh', 'expiry-relay doctor'), env);
          expect(await doctor.exited).toBe(0);
          expect(missing(doctor.run, '[+] redis')).toEqual([]);
        },
        { timeout: 30_000, interval: 1000 },
      );
    }
    await using own = shell.start(blockOf(PAGE, 'sh', 'node receiver.mjs'), {
      ...env,
      PORT: String(port),
    });
    await eventually('the receiver', () =>
      fetch(`http://127.0.0.1:${port}`, { method: 'POST' }).catch(() => null),
    );
    await using set = shell.start(blockOf(PAGE, 'sh', 'order:43:unpaid'));
    expect(await set.exited).toBe(0);
    await shows(own.run, 'cancel order 43');
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
