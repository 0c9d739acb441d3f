/** Every fenced block of the documentation is tested, and configurations and bodies are valid. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { loadSettings } from '../../src/config/load.js';
import { judgeStateThroughput, judgeThroughput } from '../../src/doctor/throughput.js';
import { bodiesOf } from '../../src/payload/body.js';
import { tempFolder } from '../support/cli.js';
import { blockOf, blocksOf, PAGES, ROOT } from '../support/doc-pages.js';
import { anExpiration, aRoute, aWebhookInput, TEST_SECRET } from '../support/domain.js';

/** The test of each block, found by a part of its text that the test also names. */
const TESTED_BY: readonly (readonly [page: string, mark: string, test: string])[] = [
  ['README.md', 'npm run demo', 'test/docs/readme.e2e.test.ts'],
  ['README.md', 'Webhooks received', 'test/docs/readme.e2e.test.ts'],
  ['README.md', 'expiry-relay listen', 'test/docs/readme.e2e.test.ts'],
  ['README.md', 'detected_by', 'test/docs/blocks.test.ts'],
  ['docs/webhooks.md', 'detected_by', 'test/docs/blocks.test.ts'],
  ['docs/configuration.md', 'expiry-relay check', 'test/docs/blocks.test.ts'],
  ['docs/endpoints.md', '--asymmetric', 'test/docs/endpoints.test.ts'],
  ['docs/endpoints.md', 'expiry-relay pause', 'test/e2e/pause.e2e.test.ts'],
  ['docs/endpoints.md', 'isGenuine', 'test/docs/endpoints.test.ts'],
  ['docs/getting-started.md', 'expiry-relay match', 'test/docs/getting-started.e2e.test.ts'],
  [
    'docs/getting-started.md',
    'content-type: application/json',
    'test/docs/getting-started.e2e.test.ts',
  ],
  ['docs/getting-started.md', 'expiry-relay listen', 'test/docs/getting-started.e2e.test.ts'],
  ['docs/getting-started.md', 'listening on', 'test/docs/getting-started.e2e.test.ts'],
  ['docs/getting-started.md', 'expiry-relay run', 'test/docs/getting-started.e2e.test.ts'],
  ['docs/getting-started.md', 'expiry-relay send', 'test/docs/getting-started.e2e.test.ts'],
  ['docs/getting-started.md', 'accepted with 204', 'test/docs/getting-started.e2e.test.ts'],
  ['docs/getting-started.md', 'expiry-relay doctor', 'test/docs/getting-started.e2e.test.ts'],
  ['docs/getting-started.md', '[+] redis', 'test/docs/getting-started.e2e.test.ts'],
  ['docs/getting-started.md', 'createServer', 'test/docs/getting-started.e2e.test.ts'],
  ['docs/getting-started.md', 'INFO  watching', 'test/docs/getting-started.e2e.test.ts'],
  ['docs/getting-started.md', '✓ verified', 'test/docs/getting-started.e2e.test.ts'],
  ['docs/getting-started.md', 'INFO  attempt', 'test/docs/getting-started.e2e.test.ts'],
  ['docs/getting-started.md', 'node receiver.mjs', 'test/docs/getting-started.e2e.test.ts'],
  ['docs/getting-started.md', 'order:43:unpaid', 'test/docs/getting-started.e2e.test.ts'],
  ['docs/getting-started.md', 'cancel order 43', 'test/docs/getting-started.e2e.test.ts'],
  ['docs/installation.md', 'npm install --global', 'scripts/test-package.mjs'],
  ['docs/installation.md', 'docker build', 'scripts/test-image.mjs'],
  ['docs/operations/dead-letters.md', 'dead drop', 'test/docs/operations.e2e.test.ts'],
  ['docs/operations/dead-letters.md', 'attempts     3', 'test/cli/dead-text.test.ts'],
  ['docs/operations/monitoring.md', '/api/v1/reload', 'test/docs/operations.e2e.test.ts'],
  ['docs/operations/redis.md', 'ACL SETUSER', 'test/docs/operations.e2e.test.ts'],
  ['docs/operations/redis.md', 'Exgen', 'test/docs/operations.e2e.test.ts'],
  ['docs/operations/sizing.md', 'state throughput', 'test/docs/blocks.test.ts'],
  ['docs/testing.md', 'npm run test:image', 'test/docs/blocks.test.ts'],
  ['docs/troubleshooting.md', 'healthcheck --ready', 'test/docs/operations.e2e.test.ts'],
  ['docs/troubleshooting.md', 'dead replay', 'test/docs/operations.e2e.test.ts'],
  ['docs/troubleshooting.md', 'outbox_pending', 'test/docs/operations.e2e.test.ts'],
  ['docs/troubleshooting.md', 'no dead letters match', 'test/docs/operations.e2e.test.ts'],
  ['docs/troubleshooting.md', '"event":', 'test/docs/troubleshooting.test.ts'],
  ['docs/values.md', 'ACL SETUSER', 'test/docs/values.test.ts'],
];

/** The picture at the top of the README. */
const PICTURE = '┌───────┐';

const read = (path: string) => readFileSync(join(ROOT, path), 'utf8');

describe('the blocks of the documentation', () => {
  // docs/receivers.md shows parts of files: see receivers.examples.ts.
  const pages = PAGES.filter((page) => page !== 'docs/receivers.md');

  it('are all tested', () => {
    const untested = pages.flatMap((page) =>
      blocksOf(page)
        .filter(({ language, text }) => language !== 'yaml' && !text.includes(PICTURE))
        .filter(({ text }) => !TESTED_BY.some(([its, mark]) => its === page && text.includes(mark)))
        .map(({ text }) => `${page}:\n${text}`),
    );
    expect(untested).toEqual([]);
  });

  it.each(TESTED_BY)('exist for each test: %s has "%s", tested by %s', (page, mark, test) => {
    expect(blocksOf(page).filter(({ text }) => text.includes(mark)).length).toBeGreaterThan(0);
    // This file also names each mark in the table above.
    const mentions = read(test).split(mark).length - 1;
    expect(mentions).toBeGreaterThan(import.meta.filename.endsWith(test) ? 1 : 0);
  });

  it('are configurations that load, where they are in YAML', async () => {
    const env = {
      SHOP_WEBHOOK_SECRET: TEST_SECRET,
      AUDIT_WEBHOOK_SECRET: TEST_SECRET,
      MAIL_WEBHOOK_SECRET: TEST_SECRET,
      REDIS_PASSWORD: 'p',
      SHOP_TOKEN: 't',
    };
    // The files that docs/endpoints.md names exist in its own test.
    const files = pages
      .filter((page) => page !== 'docs/endpoints.md')
      .flatMap((page) => blocksOf(page).filter(({ language }) => language === 'yaml'));
    expect(files.length).toBeGreaterThan(4);
    for (const { text } of files) {
      await using folder = await tempFolder({ 'relay.yaml': text });
      await loadSettings({ file: undefined, env, cwd: folder.path });
    }
  });

  it.each(['README.md', 'docs/webhooks.md'])('are a body as the relay builds it: %s', (page) => {
    const expiration = anExpiration({ expiredAtMs: Date.parse('2026-11-22T06:00:10.000Z') });
    const params = { id: Buffer.from('42') };
    const route = aRoute({ name: 'cancel-unpaid-order' });
    const body = bodiesOf(aWebhookInput({ expiration, route, params }))('msg_1');
    const documented = JSON.parse(blockOf(page, 'json', 'detected_by'));
    expect(JSON.stringify(documented)).toBe(String(body));
  });

  it('are the one command of the page on configuration, which the guide also runs', () => {
    const command = blockOf('docs/configuration.md', 'sh', 'expiry-relay check');
    expect(blockOf('docs/getting-started.md', 'sh', 'expiry-relay match')).toContain(command);
  });

  it('are the throughput as doctor reports it', () => {
    const { text } = judgeThroughput(300);
    const endpoints = [{ name: 'shop', concurrency: 32 }];
    const state = judgeStateThroughput(300, endpoints, 'state throughput');
    expect(blockOf('docs/operations/sizing.md', 'text', 'state throughput')).toBe(
      `[i] throughput        ${text}\n[i] state throughput  ${state.text}\n`,
    );
  });

  it('are npm scripts that exist and that CI runs', () => {
    const { scripts } = JSON.parse(read('package.json'));
    const ci = ['.ci/run', '.ci/nightly'].map(read).join();
    const commands = blockOf('docs/testing.md', 'sh', 'npm run test:image').trim().split('\n');
    for (const command of [...commands, 'npm run demo']) {
      expect(Object.keys(scripts)).toContain(command.replace(/^npm (run )?/, ''));
      expect(ci).toContain(command);
    }
  });
});
