/** Holds docs/json-output.md to what the commands print. */
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { freePort } from '../../scripts/lib/free-port.mjs';
import { createProgram } from '../../src/cli/program.js';
import { newKeyPair } from '../../src/signing/key-pair.js';
import { endpointKeys } from '../../src/state/format.js';
import { cli, contextFor, startCli, tempFolder } from '../support/cli.js';
import { aDeadLetter, keepRunning, PREFIX, storeDeadLetters } from '../support/dead-letters.js';
import { eventually } from '../support/eventually.js';
import { sharedRedis } from '../support/shared-redis.js';

const shared = sharedRedis();

type Json = Readonly<Record<string, unknown>>;

const page = readFileSync(new URL('../../docs/json-output.md', import.meta.url), 'utf8');

/** The documented object of each command. */
const documented = new Map(
  page
    .split(/^## /m)
    .slice(1)
    .map((section) => {
      const [name = ''] = section.split('\n');
      const [, sample = ''] = /```json\n([\s\S]*?)```/.exec(section) ?? [];
      return [name, JSON.parse(sample) as Json] as const;
    }),
);

/** Mappings whose keys are names that an operator chooses. */
const BY_NAME = ['params', 'headers', 'public_keys', 'replayed', 'dropped', 'refused'];

/** Fails unless the value has the keys and types of the sample; `null` stands for every type. */
function expectShape(value: unknown, sample: unknown, where: string): void {
  if (value === null || sample === null) return;
  expect(typeof value, where).toBe(typeof sample);
  if (typeof value !== 'object' || typeof sample !== 'object') return;
  const samples = Object.entries(sample);
  const isByName = Array.isArray(value) || BY_NAME.includes(where.split('.').at(-1) ?? '');
  if (!isByName) expect(Object.keys(value).sort(), where).toEqual(Object.keys(sample).sort());
  for (const [key, inner] of Object.entries(value)) {
    const [, like] = (isByName ? samples[0] : samples.find(([name]) => name === key)) ?? [];
    expect(like, `${where}.${key}`).toBeDefined();
    expectShape(inner, like, `${where}.${key}`);
  }
}

/** Fails unless the object is as documented. */
function expectDocumented(command: string, found: Json, more: Json = {}): void {
  expectShape(found, { ...documented.get(command), ...more }, command);
}

const objectsOf = (text: string): readonly Json[] =>
  text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));

async function aFolder(more: object = {}, endpoint: object = {}) {
  const { privateKey } = newKeyPair();
  const shop = { url: 'http://127.0.0.1:9/hooks', secrets: [privateKey], ...endpoint };
  return tempFolder({
    'relay.yaml': stringify({
      redis: { url: shared.server.url },
      endpoints: { shop },
      routes: [{ name: 'cancel', match: 'order:{id}', to: 'shop', path: '/orders/{id}' }],
      ...more,
    }),
  });
}

/** Commands below a command, with their options. */
const program = createProgram(contextFor([]).context, () => undefined);
const leaves = program.commands.flatMap((command) =>
  command.commands.length === 0
    ? [{ name: command.name(), command }]
    : command.commands.map((inner) => ({
        name: `${command.name()} ${inner.name()}`,
        command: inner,
      })),
);
const withJson = leaves.filter(({ command }) =>
  command.options.some(({ long }) => long === '--json'),
);

describe('the documentation of JSON output', () => {
  it('has a section for each command with --json, and no other', () => {
    const named = withJson.map(({ name }) => name).filter((name) => name !== 'quarantine show');
    expect([...documented.keys()].sort()).toEqual(named.sort());
  });

  it('covers all commands but those that print no data of their own', () => {
    const without = leaves.filter(({ name }) => !withJson.some((each) => each.name === name));
    expect(without.map(({ name }) => name)).toEqual(['init', 'run', 'schema', 'completion']);
  });
});

describe('JSON output', () => {
  it('of check', async () => {
    await using folder = await aFolder({ routes: [{ name: 'all', match: '*', to: 'shop' }] });
    const { stdout } = await cli(['check', '--json'], { cwd: folder.path });
    const [found = {}] = objectsOf(stdout);
    expect(found).toMatchObject({ valid: true, errors: [], warnings: [{ line: 10 }] });
    expectDocumented('check', found);
    await using broken = await aFolder({ log: { levl: 'info' } });
    const files = ['relay.yaml', 'none.yaml'];
    const several = await cli(['check', '--json', ...files], { cwd: broken.path });
    expect(several).toMatchObject({ code: 1, stderr: '' });
    const both = objectsOf(several.stdout);
    expect(both).toMatchObject([
      { file: 'relay.yaml', errors: [{ message: expect.stringContaining('"levl"') }] },
      { file: 'none.yaml', valid: false, routes: null, errors: [{ line: null }] },
    ]);
    for (const each of both) expectDocumented('check', each);
  });

  it('of doctor', async () => {
    await using folder = await aFolder();
    const { code, stdout, stderr } = await cli(['doctor', '--json'], { cwd: folder.path });
    expect({ code, stderr }).toEqual({ code: 1, stderr: '' });
    const [found = {}] = objectsOf(stdout);
    expect(found).toMatchObject({ problems: 1 });
    expectDocumented('doctor', found);
  });

  it('of match', async () => {
    await using folder = await aFolder();
    const { stdout } = await cli(['match', 'order:42', '--json'], { cwd: folder.path });
    const [found = {}] = objectsOf(stdout);
    expect(found).toMatchObject({
      params: { id: '42' },
      url: expect.stringMatching(/orders\/42$/),
    });
    expectDocumented('match', found);
  });

  it.each([
    [204, 'accepted'],
    [500, 'rejected'],
    [null, 'unreachable'],
  ])('of send, where the response is %j', async (status, outcome) => {
    const server = createServer((_, response) => {
      response.writeHead(status ?? 500).end();
    }).listen(0, '127.0.0.1');
    await eventually('the server', () => server.listening);
    const { port } = server.address() as AddressInfo;
    const url = `http://127.0.0.1:${status === null ? await freePort() : port}`;
    await using folder = await aFolder({}, { url });
    const { stdout } = await cli(['send', 'order:42', '--json'], { cwd: folder.path });
    const [found = {}] = objectsOf(stdout);
    expect(found).toMatchObject({ outcome, status });
    expectDocumented('send', found);
    server.close();
  });

  it('of listen, on a terminal too', async () => {
    const run = startCli(['listen', '--port', '0', '--json'], { isTTY: true });
    const url = await eventually('the address', () => /http:\S+/.exec(run.stderr.text)?.[0]);
    await fetch(url, { method: 'POST', body: '{}' });
    await eventually('the webhook', () => run.stdout.text.includes('\n'));
    run.stop();
    await run.done;
    const [found = {}] = objectsOf(run.stdout.text);
    expectDocumented('listen', found);
  });

  it('of secret', async () => {
    for (const words of [[], ['--asymmetric']]) {
      const { stdout, stderr } = await cli(['secret', '--json', ...words]);
      expect(stderr).toBe('');
      expectDocumented('secret', objectsOf(stdout)[0] ?? {});
    }
  });

  it('of healthcheck', async () => {
    const admin = { listen: `127.0.0.1:${await freePort()}` };
    await using folder = await aFolder({ admin });
    const { code, stdout, stderr } = await cli(['healthcheck', '--json'], { cwd: folder.path });
    expect({ code, stderr }).toEqual({ code: 1, stderr: '' });
    const [found = {}] = objectsOf(stdout);
    expect(found).toMatchObject({ healthy: false, error: expect.stringContaining('ECONNREFUSED') });
    expectDocumented('healthcheck', found);
  });

  it('of status, pause and resume', async () => {
    await using folder = await aFolder();
    const run = async (...words: string[]) =>
      objectsOf((await cli([...words, '--json'], { cwd: folder.path })).stdout)[0] ?? {};
    expectDocumented('status', await run('status'));
    expectDocumented('pause', await run('pause', 'shop', '--reason', 'moving'));
    expectDocumented('status', await run('status'));
    const resumed = await run('resume', 'shop');
    expect(resumed).toEqual({ endpoint: 'shop', changed: true, paused: null });
    expectDocumented('resume', resumed);
  });

  it('of dead list, show, replay and drop', async () => {
    await using folder = await aFolder();
    const run = async (...words: string[]) =>
      objectsOf((await cli(['dead', ...words, '--json'], { cwd: folder.path })).stdout)[0] ?? {};
    const history = [{ startedAtMs: 1, durationMs: 12, outcome: 'HTTP 500' }];
    const others = ['one', 'two', 'three'].map((id) => aDeadLetter({ history, delivery: { id } }));
    const audit = aDeadLetter({ delivery: { id: 'elsewhere', endpoint: 'audit' } });
    await storeDeadLetters(shared.client, [...others, audit]);
    await keepRunning(shared.client, 'shop');
    expectDocumented('dead list', await run('list'));
    const shown = await run('show', 'one');
    expect(shown).toMatchObject({
      url: expect.stringMatching(/^http:/),
      response_body: 'oops',
      attempt_history: [{ at: '1970-01-01T00:00:00.001Z', outcome: 'HTTP 500', duration_ms: 12 }],
    });
    expectDocumented('dead show', shown, documented.get('dead list'));
    const replayed = await run('replay', 'one', 'elsewhere', 'nobody');
    expect(replayed).toMatchObject({ replayed: { shop: 1 }, refused: { audit: { count: 1 } } });
    expectDocumented('dead replay', replayed);
    expectDocumented('dead drop', await run('drop', 'two', 'nobody'));
  });

  it('of quarantine list, show and drop', async () => {
    await using folder = await aFolder();
    const run = async (...words: string[]) =>
      objectsOf((await cli([...words, '--json'], { cwd: folder.path })).stdout)[0] ?? {};
    const keys = endpointKeys(PREFIX, 'shop');
    await shared.client.hset(keys.dead, 'bad', 'garbage');
    await shared.client.zadd(keys.deadOrder, '-inf', 'bad');
    await cli(['dead', 'list'], { cwd: folder.path });
    const listed = await run('quarantine', 'list');
    expectDocumented('quarantine list', listed);
    expect(await run('quarantine', 'show', String(listed.id))).toEqual(listed);
    expectDocumented('quarantine drop', await run('quarantine', 'drop', String(listed.id), '1-1'));
  });
});
