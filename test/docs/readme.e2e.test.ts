/** The commands and outputs of README.md, run as they are. */
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { freePort } from '../../scripts/lib/free-port.mjs';
import { blockOf, ROOT } from '../support/doc-pages.js';
import { docShell, missingLines, startProcess } from '../support/doc-shell.js';
import { eventually } from '../support/eventually.js';
import { sharedRedis } from '../support/shared-redis.js';

const README = 'README.md';

const shared = sharedRedis();

describe('the README', () => {
  it('shows the output of the demo', async () => {
    expect(blockOf(README, 'sh', 'npm run demo')).toBe('npm run demo\n');
    // As `npm run demo` does after the set-up.
    await using demo = startProcess(process.execPath, ['scripts/demo.mjs'], ROOT, process.env);
    expect(await demo.exited).toBe(0);
    const documented = blockOf(README, 'text', 'Webhooks received');
    expect(missingLines(documented, demo.run.output)).toEqual([]);
  });

  it('has a minimal configuration with commands that end with a verified webhook', async () => {
    const port = await freePort();
    const admin = { listen: `127.0.0.1:${await freePort()}` };
    const file = { ...parse(blockOf(README, 'yaml', '${REDIS_URL')), admin };
    await using shell = await docShell(shared.server.url, {
      'relay.yaml': JSON.stringify(file).replace(':8080', `:${port}`),
    });
    const script = blockOf(README, 'sh', 'expiry-relay listen').replace(
      '--port 8080',
      `--port ${port}`,
    );
    await using commands = shell.start(`${script}\nwait`);
    const line = await eventually(
      'the webhook',
      () => /^\{"received_at".*$/m.exec(commands.run.output),
      30_000,
    );
    expect(JSON.parse(line[0])).toMatchObject({
      verified: true,
      body: { data: { key: 'order:42:unpaid', params: { id: '42' } } },
    });
  });
});
