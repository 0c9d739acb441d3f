// cspell:ignore canecl endp frobnicate gnoe shpo
/** `dead` beside a real Redis; e2e/dead.e2e.test.ts has it beside a running relay. */
import { once } from 'node:events';
import { Writable } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { freePort } from '../../scripts/lib/free-port.mjs';
import { startRedis } from '../../scripts/lib/redis-server.mjs';
import { runCli } from '../../src/cli/cli.js';
import { Hangups } from '../../src/lib/hangups.js';
import { endpointKeys, goneField, goneKey, replicasKey } from '../../src/state/format.js';
import { unpackDelivery } from '../../src/state/packing.js';
import { BufferedOutput } from '../../src/telemetry/buffered-output.js';
import { ProcessReports } from '../../src/telemetry/process-reports.js';
import { cli, Sink, startCli, stateFile } from '../support/cli.js';
import { aDeadLetter, keepRunning, PREFIX, storeDeadLetters } from '../support/dead-letters.js';
import { blockOf } from '../support/doc-pages.js';
import { eventually } from '../support/eventually.js';
import { spawnMain } from '../support/relay-process.js';
import { sharedRedis } from '../support/shared-redis.js';
import { TcpProxy } from '../support/tcp-proxy.js';

const shared = sharedRedis();
const MINUTE_MS = 60_000;

const dead = async (...words: string[]) => {
  const [name = '', ...rest] = words;
  return cli(['dead', name, '-c', await stateFile(shared.server.url), ...rest]);
};

/** Three, of two endpoints; the oldest first. */
const LETTERS = [
  aDeadLetter({ agoMs: 90 * MINUTE_MS, delivery: { id: 'old' } }),
  aDeadLetter({
    agoMs: 40 * MINUTE_MS,
    reason: 'gone',
    attempts: 1,
    delivery: { id: 'elsewhere', endpoint: 'audit', route: 'other' },
  }),
  aDeadLetter({ agoMs: MINUTE_MS, delivery: { id: 'new', path: '/x' } }),
];

const manyLetters = (length: number) =>
  Array.from({ length }, (_, n) => aDeadLetter({ agoMs: n, delivery: { id: `msg_${n}` } }));

const left = async (endpoint: string) => {
  const { dead: letters, deadOrder } = endpointKeys(PREFIX, endpoint);
  const ids = (await shared.client.hkeys(letters)).sort();
  expect((await shared.client.zrange(deadOrder, 0, '-1')).sort()).toEqual(ids);
  return ids;
};

/** What a relay would claim, with the attempts already made. */
const ready = async (endpoint: string) => {
  const keys = endpointKeys(PREFIX, endpoint);
  const entries = await shared.client.xrange(keys.ready, '-', '+');
  return Promise.all(
    entries.map(async ([, fields]) => {
      const [, id = '', , attempts] = fields;
      const packed = await shared.client.hgetBuffer(keys.deliveries, id);
      return {
        delivery: packed && unpackDelivery(packed, { endpoint, id }),
        attempts: Number(attempts),
      };
    }),
  );
};

describe('dead list', () => {
  it('shows all endpoints, the newest last, and counts them', async () => {
    await storeDeadLetters(shared.client, LETTERS);
    const { code, stdout, stderr } = await dead('list');
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    const lines = stdout.trim().split('\n');
    expect(lines.map((line) => line.split(' ')[0])).toEqual(['ID', 'old', 'elsewhere', 'new', '3']);
    expect(lines[1]).toMatch(/ 90m +shop +cancel +exhausted +3 +order:42:unpaid +HTTP 500$/);
    expect(lines[4]).toBe('3 dead letters: audit 1 (gone 1), shop 2 (exhausted 2)');
  });

  it('says when there is none, or none that the filters match', async () => {
    expect(await dead('list')).toEqual({ code: 0, stdout: 'no dead letters\n', stderr: '' });
    await storeDeadLetters(shared.client, LETTERS);
    expect((await dead('list', '--route', 'canecl')).stdout).toBe(
      'no dead letters match; the configuration has no route "canecl" (did you mean "cancel"?)\n',
    );
  });

  it('shows the newest up to the limit, and says how many are older', async () => {
    await storeDeadLetters(shared.client, LETTERS);
    const { stdout } = await dead('list', '--limit', '1');
    expect(stdout).toMatch(
      /^ID.*\nnew .*\n3 dead letters: .*; 2 older not shown \(--limit 0: all\)/,
    );
    const json = await dead('list', '--limit', '2', '--json');
    expect(json.stdout.match(/"id":"\w+"/g)).toEqual(['"id":"elsewhere"', '"id":"new"']);
    expect(json.stderr).toContain('1 older not shown');
  });

  it.each([
    [
      ['--endpoint', 'shop'],
      ['old', 'new'],
    ],
    [['--reason', 'gone'], ['elsewhere']],
    [['--older-than', '1h'], ['old']],
    [
      ['--newer-than', '1h'],
      ['elsewhere', 'new'],
    ],
    [['--id', 'new', '--id', 'old', '--older-than', '30m'], ['old']],
    [['--route', 'cancel', '--newer-than', '1h'], ['new']],
  ])('lists with %j only %j', async (filters, ids) => {
    await storeDeadLetters(shared.client, LETTERS);
    const { stdout } = await dead('list', '--json', ...filters);
    const rows = stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(rows.map(({ id }) => id)).toEqual(ids);
  });

  it('counts ages by the clock of the state Redis', async () => {
    const [seconds] = (await shared.client.time()).map(Number);
    const letter = aDeadLetter({ agoMs: 500 }, Number(seconds) * 1000);
    await storeDeadLetters(shared.client, [letter]);
    expect((await dead('list', '--newer-than', '1m')).stdout).toContain('1 dead letter: shop 1');
  });

  it('says what waits for an endpoint that no running relay has', async () => {
    await keepRunning(shared.client, 'shop');
    await storeDeadLetters(shared.client, LETTERS);
    for (const endpoint of ['shop', 'audit']) {
      await shared.client.hset(endpointKeys(PREFIX, endpoint).deliveries, 'a', 'x', 'b', 'x');
    }
    const { code, stderr } = await dead('list');
    expect(code).toBe(0);
    expect(stderr).toBe(
      'expiry-relay: no running relay has the endpoint "audit", which has 2 pending webhooks. Start a ' +
        'relay that has it; otherwise they become dead letters after 1h ' +
        '(state.unknown_endpoint_grace)\n',
    );
    expect((await dead('list', '--endpoint', 'shop')).stderr).toBe('');
  });

  it.each([
    [['--endpoint', 'shpo'], 'found "shpo" (did you mean "shop"?)'],
    [['--reason', 'gnoe'], 'found "gnoe" (did you mean "gone"?)'],
    [['--older-than', '2hours'], '--older-than: expected a duration'],
    [['--limit', 'x'], 'Expected a whole number'],
    [['--frobnicate'], 'unknown option'],
  ])('takes %j for wrong usage', async (words, message) => {
    const { code, stdout, stderr } = await dead('list', ...words);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toContain(message);
  });
});

describe('dead, where the index of dead letters was deleted', () => {
  it.each(['list', 'replay', 'drop'])('%s says how many it leaves out', async (verb) => {
    await storeDeadLetters(shared.client, LETTERS);
    await shared.client.del(endpointKeys(PREFIX, 'shop').deadOrder);
    const filter = verb === 'list' ? [] : ['--reason', 'exhausted'];
    const { stdout, stderr } = await dead(verb, ...filter);
    expect(stderr).toContain('2 dead letters of "shop" not listed: the index lacks them.');
    expect(stdout).not.toContain('new');
    expect(await shared.client.hlen(endpointKeys(PREFIX, 'shop').dead)).toBe(2);
  });
});

describe('dead show', () => {
  it('shows everything about one, wherever it lies', async () => {
    await storeDeadLetters(shared.client, LETTERS);
    const { code, stdout, stderr } = await dead('show', 'elsewhere');
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toContain('endpoint     audit\n');
    expect(stdout).toContain('reason       gone (the endpoint has returned 410)\n');
    expect(stdout).toContain('(40m ago)\n');
    expect(stdout).toMatch(/\n\{"type":"redis.key.expired"\}\n$/);
    const json = JSON.parse((await dead('show', 'elsewhere', '--json')).stdout);
    expect(json).toMatchObject({ id: 'elsewhere', body: '{"type":"redis.key.expired"}' });
  });

  it('gives with --body the exact bytes and nothing else', async () => {
    const body = Buffer.from('{"key":"\u202e\\u0000 \u00fc"}');
    await storeDeadLetters(shared.client, [aDeadLetter({ delivery: { body } })]);
    const { code, stdout } = await dead('show', 'msg_1', '--body');
    expect({ code, stdout }).toEqual({ code: 0, stdout: body.toString() });
  });

  it('says that there is no such dead letter, and exits 1', async () => {
    const { code, stdout, stderr } = await dead('show', 'msg_\u001b');
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
    expect(stderr).toBe('expiry-relay: no such dead letter: msg_\\x1b\n');
    expect((await dead('show', 'a', '--json', '--body')).code).toBe(2);
    expect((await dead('show')).code).toBe(2);
  });
});

describe('dead replay', () => {
  it('makes them ready again with the same id and body, as if never attempted', async () => {
    await keepRunning(shared.client, 'shop', 'audit');
    await storeDeadLetters(shared.client, LETTERS);
    const { code, stdout, stderr } = await dead('replay', 'new', '--id', 'old');
    expect({ code, stdout, stderr }).toEqual({ code: 0, stdout: 'shop: 2 replayed\n', stderr: '' });
    const [old, , fresh] = LETTERS.map(({ delivery }) => ({ delivery, attempts: 0 }));
    expect(await ready('shop')).toEqual([old, fresh]);
    expect(await left('shop')).toEqual([]);
    expect(await left('audit')).toEqual(['elsewhere']);
  });

  it('replays all that the filters match, and says how many of each endpoint', async () => {
    await keepRunning(shared.client, 'shop', 'audit');
    await storeDeadLetters(shared.client, LETTERS);
    const { code, stdout } = await dead('replay', '--newer-than', '1h');
    expect({ code, stdout }).toEqual({ code: 0, stdout: 'audit: 1 replayed\nshop: 1 replayed\n' });
    expect(await left('shop')).toEqual(['old']);
  });

  it('leaves those of an endpoint that has answered 410 to a running replica, and names that', async () => {
    await keepRunning(shared.client, 'shop', 'audit');
    await storeDeadLetters(shared.client, LETTERS);
    const { replicas, gone } = { replicas: replicasKey(PREFIX), gone: goneKey(PREFIX) };
    await shared.client.hset(gone, goneField('one', 'audit'), 'host-a:1');
    await shared.client.hset(gone, goneField('two', 'audit'), 'host-b:1');
    await shared.client.hset(gone, goneField('dead', 'shop'), 'host-c:1');
    await shared.client.zadd(replicas, Date.now() + MINUTE_MS, 'one', 1, 'dead');
    expect(await dead('replay', '--all')).toMatchObject({
      code: 1,
      stdout: 'shop: 2 replayed\n',
      stderr:
        'expiry-relay: audit: 1 not replayed: the endpoint responded 410 and is disabled in ' +
        'host-a:1. Send SIGHUP to host-a:1, then replay\n',
    });
    expect(await left('audit')).toEqual(['elsewhere']);
    await shared.client.zadd(replicas, Date.now() + MINUTE_MS, 'two');
    const { stderr } = await dead('replay', 'elsewhere');
    expect(stderr).toContain('. Send SIGHUP to host-a:1, host-b:1, then replay\n');
    await shared.client.zrem(replicas, 'one', 'two');
    expect(await dead('replay', 'elsewhere')).toMatchObject({ code: 0 });
  });

  it('leaves those of an endpoint that no running relay has, and says why', async () => {
    await keepRunning(shared.client, 'shop');
    await storeDeadLetters(shared.client, LETTERS);
    const { code, stdout, stderr } = await dead('replay', '--all');
    expect({ code, stdout }).toEqual({ code: 1, stdout: 'shop: 2 replayed\n' });
    expect(stderr).toMatch(/^expiry-relay: audit: 1 not replayed: no running relay has this endp/);
    expect(await left('audit')).toEqual(['elsewhere']);
    expect(await ready('audit')).toEqual([]);
  });
});

describe('dead drop', () => {
  it('forgets what is named or matches, of any endpoint', async () => {
    await storeDeadLetters(shared.client, LETTERS);
    expect(await dead('drop', 'elsewhere')).toEqual({
      code: 0,
      stdout: 'audit: 1 dropped\n',
      stderr: '',
    });
    expect((await dead('drop', '--older-than', '1h')).stdout).toBe('shop: 1 dropped\n');
    expect(await left('shop')).toEqual(['new']);
    expect((await dead('drop', '--all')).stdout).toBe('shop: 1 dropped\n');
    expect(await left('shop')).toEqual([]);
    const again = await dead('drop', '--all');
    expect(again).toEqual({
      code: 0,
      stdout: 'no dead letters match; nothing dropped\n',
      stderr: '',
    });
  });
});

describe.each(['replay', 'drop'])('dead %s', (verb) => {
  it('wants ids, filters or --all, and touches nothing without', async () => {
    await keepRunning(shared.client, 'shop', 'audit');
    await storeDeadLetters(shared.client, LETTERS);
    const { code, stdout, stderr } = await dead(verb);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toMatch(/^expiry-relay: specify ids, a filter or --all; nothing was \w+\n$/);
    expect((await dead(verb, '--endpoint', '')).code).toBe(2);
    expect(await left('shop')).toEqual(['new', 'old']);
  });

  it('names each id that it did not find, does the others, and exits 1', async () => {
    await keepRunning(shared.client, 'shop', 'audit');
    await storeDeadLetters(shared.client, LETTERS);
    const { code, stdout, stderr } = await dead(verb, 'old', 'nobody', '--id', 'a\u001b');
    expect(code).toBe(1);
    expect(stdout).toMatch(/^shop: 1 (replayed|dropped)\n$/);
    expect(stderr).toBe(
      'expiry-relay: no such dead letter: nobody\nexpiry-relay: no such dead letter: a\\x1b\n',
    );
    const filtered = await dead(verb, 'new', '--reason', 'gone');
    expect(filtered.code).toBe(1);
    expect(filtered.stderr).toContain('no such dead letter that matches the filter: new');
    expect(await left('shop')).toEqual(['new']);
  });

  it('changes nothing with --dry-run, and says what it would do', async () => {
    await keepRunning(shared.client, 'shop');
    await storeDeadLetters(shared.client, LETTERS);
    const { code, stdout, stderr } = await dead(verb, '--dry-run', '--endpoint', 'shop');
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toMatch(/^shop: 2 would be (replayed|dropped)\n$/);
    expect(await left('shop')).toEqual(['new', 'old']);
    expect(await ready('shop')).toEqual([]);
  });

  it('takes its time with --rate', async () => {
    await keepRunning(shared.client, 'shop');
    await storeDeadLetters(shared.client, manyLetters(4));
    const startedAtMs = performance.now();
    const { stdout } = await dead(verb, '--endpoint', 'shop', '--rate', '20/s');
    expect(stdout).toMatch(/^shop: 4 (replayed|dropped)\n$/);
    expect(performance.now() - startedAtMs).toBeGreaterThan(145);
    expect((await dead(verb, '--all', '--rate', 'fast')).stderr).toContain(
      '--rate: expected a rate',
    );
  });

  it('waits with one timer for --rate, however many letters there are', async () => {
    await keepRunning(shared.client, 'shop');
    await storeDeadLetters(shared.client, manyLetters(20));
    const warnings: Error[] = [];
    const onWarning = (warning: Error) => warnings.push(warning);
    process.on('warning', onWarning);
    const { stdout } = await dead(verb, '--endpoint', 'shop', '--rate', '100/s');
    process.off('warning', onWarning);
    expect(stdout).toMatch(/^shop: 20 (replayed|dropped)\n$/);
    expect(warnings).toEqual([]);
  });

  it('says with --json what it has done', async () => {
    await keepRunning(shared.client, 'shop', 'audit');
    await storeDeadLetters(shared.client, LETTERS);
    const { code, stdout } = await dead(verb, 'old', 'elsewhere', 'nobody', '--json');
    expect(code).toBe(1);
    expect(JSON.parse(stdout)).toEqual({
      dry_run: false,
      [verb === 'replay' ? 'replayed' : 'dropped']: { shop: 1, audit: 1 },
      refused: {},
      missing: ['nobody'],
    });
  });

  it('does ten thousand within seconds, each once', async () => {
    await keepRunning(shared.client, 'shop');
    await storeDeadLetters(shared.client, manyLetters(10_000));
    const startedAtMs = performance.now();
    const { code, stdout } = await dead(verb, '--endpoint', 'shop');
    expect(performance.now() - startedAtMs).toBeLessThan(15_000);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^shop: 10000 (replayed|dropped)\n$/);
    expect(await left('shop')).toEqual([]);
    const stream = endpointKeys(PREFIX, 'shop').ready;
    expect(await shared.client.xlen(stream)).toBe(verb === 'replay' ? 10_000 : 0);
  }, 40_000);

  it('ends in the middle on a signal, and reports its progress', async () => {
    await keepRunning(shared.client, 'shop');
    await storeDeadLetters(shared.client, manyLetters(3_000));
    const file = await stateFile(shared.server.url);
    const run = startCli(['dead', verb, '-c', file, '--all']);
    const { deadOrder } = endpointKeys(PREFIX, 'shop');
    await eventually('some', async () => (await shared.client.zcard(deadOrder)) < 3_000);
    run.stop();
    expect(await run.done).toBe(1);
    expect(run.stderr.text).toBe('expiry-relay: interrupted by SIGTERM\n');
    const kept = (await left('shop')).length;
    expect(kept).toBeGreaterThan(0);
    expect(run.stdout.text).toMatch(new RegExp(`^shop: ${3_000 - kept} (replayed|dropped)\n$`));
  });

  it('says what was done before the state Redis went away, and loses nothing', async () => {
    await keepRunning(shared.client, 'shop');
    await storeDeadLetters(shared.client, manyLetters(3_000));
    await using proxy = await TcpProxy.start(shared.server.port);
    const file = await stateFile(`redis://127.0.0.1:${proxy.port}`);
    const running = cli(['dead', verb, '-c', file, '--all']);
    const { deadOrder, deliveries } = endpointKeys(PREFIX, 'shop');
    await eventually('some', async () => (await shared.client.zcard(deadOrder)) < 2_900);
    proxy.cut(true);
    const { code, stdout, stderr } = await running;
    expect(code).toBe(1);
    expect(stderr).toMatch(/^expiry-relay: the state Redis at .* cannot be reached\n$/);
    const count = Number(/^shop: (\d+) /.exec(stdout)?.[1]);
    const kept = (await left('shop')).length;
    expect(count).toBeGreaterThan(0);
    expect(count).toBeLessThanOrEqual(3_000 - kept);
    if (verb === 'replay') expect(await shared.client.hlen(deliveries)).toBe(3_000 - kept);
  });
});

describe("dead, with the rights of the relay's own user", () => {
  it('does all that it does', async () => {
    const command = blockOf('docs/operations/redis.md', 'sh', 'resetchannels');
    const [, ...words] = command.replaceAll(/['\\]/g, '').split(/\s+/);
    await shared.client.call(...(words.filter((word) => word !== '') as [string, ...string[]]));
    await keepRunning(shared.client, 'shop');
    await storeDeadLetters(shared.client, LETTERS);
    const file = await stateFile(`redis://relay:a-password@127.0.0.1:${shared.server.port}`);
    for (const words of [['list'], ['show', 'old'], ['replay', 'old'], ['drop', 'new']]) {
      const [name = '', ...ids] = words;
      const { code, stderr } = await cli(['dead', name, '-c', file, ...ids]);
      expect({ name, code, stderr }).toEqual({ name, code: 0, stderr: '' });
    }
    expect(await left('shop')).toEqual([]);
  });
});

describe('dead, when the state cannot be used', () => {
  const outcome = async (url: string, state: object = {}) => {
    const { code, stdout, stderr } = await cli(['dead', 'list', '-c', await stateFile(url, state)]);
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
    expect(stderr).toMatch(/^expiry-relay: [^\n]*\n$/);
    return stderr;
  };

  it('says that the memory of a relay cannot be reached', async () => {
    expect(await outcome(shared.server.url, { kind: 'memory' })).toContain('state.kind: redis');
  });

  it('says that nobody answers, within some seconds', async () => {
    const port = await freePort();
    const startedAtMs = performance.now();
    expect(await outcome(`redis://127.0.0.1:${port}`)).toContain('ECONNREFUSED');
    expect(performance.now() - startedAtMs).toBeLessThan(6_000);
  });

  it('says that the prefix is used by another version', async () => {
    await shared.client.set(`{${PREFIX}}:format`, '99');
    expect(await outcome(shared.server.url)).toContain('expected format 1, found 99');
  });

  it('names the key of the format that another program has written', async () => {
    const key = `{${PREFIX}}:format`;
    const expected = `another program wrote the key ${key} in the state Redis (expected 1, found`;
    await shared.client.set(key, 'garbage');
    expect(await outcome(shared.server.url)).toContain(`${expected} garbage). Choose another`);
    await shared.client.multi().del(key).lpush(key, 'a').exec();
    expect(await outcome(shared.server.url)).toContain(`${expected} another type). Choose another`);
  });

  it('says that the password is wrong, or what is not permitted', async () => {
    await using redis = await startRedis({ password: 'right' });
    const port = String(redis.port);
    expect(await outcome(`redis://127.0.0.1:${port}`)).toContain('requires a password');
    expect(await outcome(`redis://:wrong@127.0.0.1:${port}`)).toContain('rejects the user name or');
    await shared.client.call('ACL', 'SETUSER', 'weak', 'on', '>pw', '~*', '+@all', '-zrange');
    const url = `redis://weak:pw@127.0.0.1:${shared.server.port}`;
    expect(await outcome(url)).toMatch(/denies a required permission: NOPERM .*'zrange'/);
  });
});

describe('dead list, whose reader leaves early', () => {
  it.each([
    ['for people', []],
    ['as JSON', ['--json']],
  ])('ends quietly (%s)', async (_, more) => {
    await storeDeadLetters(shared.client, manyLetters(3_000));
    const file = await stateFile(shared.server.url);
    const args = ['dead', 'list', '-c', file, '--limit', '0', ...more];
    const { process: child, exited, stderr } = spawnMain(args);
    if (child.stdout === null) throw new Error('expected a pipe');
    await once(child.stdout, 'data');
    child.stdout.destroy();
    expect((await exited).code).toBe(0);
    expect(stderr()).toBe('');
  });
});

describe('dead list, whose reader is slow', () => {
  it('holds back what has not been taken, and loses no line', async () => {
    await storeDeadLetters(shared.client, manyLetters(3_000));
    let [lines, behindMax] = [0, 0];
    const stdout = new Writable({
      decodeStrings: false,
      write(text: string, _, taken) {
        lines += text.trim().split('\n').length;
        behindMax = Math.max(behindMax, stdout.writableLength - text.length);
        setImmediate(taken);
      },
    });
    const code = await runCli({
      argv: ['dead', 'list', '--limit', '0', '--json', '-c', await stateFile(shared.server.url)],
      env: {},
      cwd: '/',
      stdout,
      stderr: new Sink(),
      logOutput: new BufferedOutput(new Sink()),
      hangups: new Hangups(() => undefined),
      reports: new ProcessReports(),
      stop: new AbortController().signal,
    });
    expect(code).toBe(0);
    expect(lines).toBe(3_000);
    expect(behindMax).toBe(0);
  });
});
