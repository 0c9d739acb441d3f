// cspell:ignore statee
/** The relay as a process: signals, output of Node and libraries, and a log that cannot be written. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile, truncate } from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { text as textOf } from 'node:stream/consumers';
import { describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { freePort } from '../../scripts/lib/free-port.mjs';
import { tempFolder } from '../support/cli.js';
import { eventually } from '../support/eventually.js';
import { MAIN, RelayProcess, runCommand, simpleFile, spawnMain } from '../support/relay-process.js';
import { sharedRedis } from '../support/shared-redis.js';
import { TestReceiver } from '../support/test-receiver.js';

const shared = sharedRedis();

const NOWHERE = 'http://127.0.0.1:9/';
const SIGUSR1_BIT = 1n << 9n;

/** Before Node has installed a handler, the signal ends any process. */
async function handlesSigusr1(pid: number): Promise<boolean> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  const [, caught = '0'] = /^SigCgt:\s+([0-9a-f]+)$/m.exec(status) ?? [];
  return (BigInt(`0x${caught}`) & SIGUSR1_BIT) !== 0n;
}

const answers = (port: number) =>
  fetch(`http://127.0.0.1:${port}/json`).then(
    () => true,
    () => false,
  );

describe('signals', () => {
  it('SIGUSR1 and SIGUSR2 are ignored by run with one warning each, and open no inspector, even during the start', async () => {
    const inspectPort = await freePort();
    const env = { NODE_OPTIONS: `--inspect-port=${inspectPort}` };
    await using relay = await RelayProcess.spawn(simpleFile(shared.server.url, NOWHERE), env);
    await eventually('the handler of Node or ours', () => handlesSigusr1(relay.pid));
    await eventually('the relay to listen', () => {
      relay.kill('SIGUSR1');
      return relay.logs('listening').length === 1;
    });
    for (const name of ['SIGUSR1', 'SIGUSR2', 'SIGUSR2'] as const) relay.kill(name);
    await eventually('both warnings', () => relay.logs('signal_ignored').length === 2);
    expect(await answers(inspectPort)).toBe(false);
    expect(await relay.stop('SIGQUIT')).toEqual({ code: 0, signal: null });
    const warned = relay.logs('signal_ignored').map(({ signal }) => signal);
    expect(warned.sort()).toEqual(['SIGUSR1', 'SIGUSR2']);
  });

  it.each(['SIGPWR', 'SIGXCPU'] as const)('%s stops run cleanly', async (signal) => {
    await using relay = await RelayProcess.start(simpleFile(shared.server.url, NOWHERE));
    for (const ignored of ['SIGALRM', 'SIGVTALRM', 'SIGIO'] as const) relay.kill(ignored);
    await eventually('all warnings', () => relay.logs('signal_ignored').length === 3);
    expect(await relay.stop(signal)).toEqual({ code: 0, signal: null });
    expect(relay.logs('stopping')).toHaveLength(1);
  });

  it('SIGUSR1 and SIGUSR2 are ignored by other commands as well, and SIGQUIT ends these cleanly', async () => {
    const inspectPort = await freePort();
    const env = { NODE_OPTIONS: `--inspect-port=${inspectPort}` };
    const listen = spawnMain(['listen', '--port', '0'], env);
    await eventually('listening', () => listen.stderr().includes('listening on'));
    for (const name of ['SIGUSR1', 'SIGUSR2', 'SIGUSR1'] as const) listen.process.kill(name);
    await eventually('warnings', () => listen.stderr().match(/ignored SIGUSR/g)?.length === 2);
    expect(await answers(inspectPort)).toBe(false);
    listen.process.kill('SIGQUIT');
    expect(await listen.exited).toEqual({ code: 0, signal: null });
    expect(listen.stderr()).toMatch(/^expiry-relay: ignored SIGUSR1, /m);
  });
});

describe('an error that ends the start', () => {
  const wrong = () => shared.server.url.replace('redis://', 'redis://nobody:wrong@');
  it.each([
    ['a wrong password', () => ({ redis: { url: wrong() } }), 'rejects the user name or password'],
    [
      'a wrong password for the state',
      () => ({ state: { url: wrong() } }),
      'Check state.url, or state.username',
    ],
    [
      'a missing database',
      () => ({ state: { url: `${shared.server.url}/9999` } }),
      'has no database',
    ],
    [
      'an admin port in use',
      () => ({ admin: { listen: new URL(shared.server.url).host } }),
      'the port is in use',
    ],
    ['a mistake in the file', () => ({ statee: 1 }), 'unknown key "statee"'],
  ])('is printed once: %s', async (_, more, text) => {
    await using relay = await RelayProcess.spawn(
      simpleFile(shared.server.url, NOWHERE, more() as Record<string, unknown>),
    );
    expect(await relay.exited).toEqual({ code: 1, signal: null });
    expect((relay.stdout + relay.stderr).split(text)).toHaveLength(2);
  });

  it('is printed to standard error where the log cannot be written', async () => {
    const file = simpleFile(shared.server.url, NOWHERE, {
      admin: { listen: new URL(shared.server.url).host },
    });
    await using folder = await tempFolder({ 'relay.yaml': stringify(file) });
    const words = ['-c', 'exec "$0" "$@" > /dev/full', process.execPath, MAIN, 'run'];
    const relay = spawn('sh', words, { cwd: folder.path, stdio: ['ignore', 'ignore', 'pipe'] });
    expect(await textOf(relay.stderr)).toMatch(/^expiry-relay: cannot listen on .*in use/);
  });

  it.each([
    ['where the log is silent', '"$0" "$@" --log-level silent'],
    ['where nobody reads the log', '"$0" "$@" | true'],
  ])('is printed to standard error %s', async (_, command) => {
    const file = simpleFile(shared.server.url, NOWHERE, {
      admin: { listen: new URL(shared.server.url).host },
    });
    await using folder = await tempFolder({ 'relay.yaml': stringify(file) });
    const words = ['-c', command, process.execPath, MAIN, 'run'];
    const relay = spawn('sh', words, { cwd: folder.path, stdio: ['ignore', 'ignore', 'pipe'] });
    expect(await textOf(relay.stderr)).toMatch(/^expiry-relay: cannot listen on .*in use/);
  });
});

describe('a Redis that accepts connections and stays silent', () => {
  it('is named by the log after a second', async () => {
    const silent = createServer(() => undefined).listen(0, '127.0.0.1');
    await once(silent, 'listening');
    const { port } = silent.address() as AddressInfo;
    await using relay = await RelayProcess.spawn(simpleFile(`redis://127.0.0.1:${port}`, NOWHERE));
    const { checks } = await relay.logged('waiting');
    expect(checks).toContain(`subscribed: Redis at 127.0.0.1:${port} has not responded yet`);
    expect(relay.logs('redis_unavailable')).toEqual([]);
    await relay.stop();
    silent.close();
  });
});

describe('output of Node and libraries', () => {
  it('is a line of the log, once each, and standard error stays empty', async () => {
    const noise = `
      setInterval(() => {
        // Output before the program runs is from Node only.
        if (process.listenerCount('SIGUSR2') === 0) return;
        process.emitWarning('old', 'DeprecationWarning', 'DEP0000');
        process.emitWarning('too many listeners', 'MaxListenersExceededWarning');
        console.warn('[WARN] two\\nlines');
      }, 50).unref();`;
    const env = { NODE_OPTIONS: `--import data:text/javascript,${encodeURIComponent(noise)}` };
    const url = shared.server.url.replace('redis://', 'redis://:a-password@');
    await using relay = await RelayProcess.start(simpleFile(url, NOWHERE), env);
    await eventually('all warnings', () => relay.logs('process_warning').length >= 3);
    await relay.logged('redis_password_unused');
    expect((await relay.stop()).code).toBe(0);
    expect(
      relay
        .logs('process_warning')
        .map(({ msg }) => msg)
        .sort(),
    ).toEqual([
      'DeprecationWarning: old',
      'MaxListenersExceededWarning: too many listeners',
      'output of a library: [WARN] two\\x0alines',
    ]);
    expect(relay.logs('redis_password_unused')).toMatchObject([
      {
        level: 'warn',
        msg: expect.stringMatching(/^Redis does not require .*\. Set the password in/),
      },
    ]);
    expect(relay.stderr).toBe('');
    expect(relay.stdout).not.toContain('a-password');
  });
});

describe('a log on a full disk', () => {
  it('stops no webhook, is counted, and continues with a whole line that has the number of lost lines', async () => {
    await using receiver = await TestReceiver.start();
    const port = await freePort();
    const file = simpleFile(shared.server.url, receiver.url, {
      admin: { listen: `127.0.0.1:${port}` },
    });
    await using folder = await tempFolder({ 'relay.yaml': stringify(file), 'log.jsonl': '' });
    const log = join(folder.path, 'log.jsonl');
    // A limit on the size of files refuses a write like a full disk: in the middle of a line.
    const script = 'ulimit -f 16 && exec "$0" "$@" >> log.jsonl';
    const words = ['-c', script, process.execPath, MAIN, 'run'];
    const relay = spawn('sh', words, { cwd: folder.path, stdio: ['ignore', 'ignore', 'inherit'] });
    const exited = new Promise((resolve) => relay.on('exit', (code) => resolve(code)));
    try {
      const metrics = () =>
        fetch(`http://127.0.0.1:${port}/metrics`).then(
          (response) => response.text(),
          () => '',
        );
      const lost = async () =>
        Number(/^expiry_relay_log_lines_dropped_total (\d+)$/m.exec(await metrics())?.[1] ?? 0);
      await eventually('watching', async () => /_watching 1$/m.test(await metrics()));
      let sent = 0;
      const expire = () => {
        sent += 1;
        return shared.client.set(`full:${sent}:${'x'.repeat(150)}`, '', 'PX', 1);
      };
      await eventually('a lost line', async () => {
        await expire();
        return (await lost()) > 0;
      });
      const first = await readFile(log, 'utf8');
      expect(first).not.toMatch(/\n$/);
      // Like a program that frees space: the file ends in the middle of a line again.
      const cut = 100;
      await truncate(log, cut);
      await eventually('the loss in the log', async () => {
        await expire();
        return (await readFile(log, 'utf8')).includes('log_lines_lost');
      });
      await eventually('all webhooks', () => receiver.requests.length === sent);
      const more = (await readFile(log, 'utf8')).slice(cut);
      expect(more).toMatch(/^\n/);
      const lines = more
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line));
      const report = lines.find(({ event }) => event === 'log_lines_lost');
      expect(report).toMatchObject({ level: 'warn', reason: expect.stringContaining('EFBIG') });
      expect(report.lines).toBeGreaterThanOrEqual(1);
    } finally {
      relay.kill('SIGTERM');
    }
    expect(await exited).toBe(0);
  });
});

it.each(['check', 'run', 'dead list'])(
  'too few open files to load the program are reported with the limit to raise: %s',
  async (command) => {
    const { code, stdout, stderr } = await runCommand(command.split(' '), { openFilesMax: 60 });
    expect(code).toBe(1);
    expect(stdout).toBe('');
    // Where Node cannot open the package.json of a package, it finds no package.
    const cause =
      '(EMFILE: .*; |internal error: Cannot find package .*; install the relay again, or )';
    const remedy = "raise the process's limit of open files \\(ulimit -n\\)";
    expect(stderr).toMatch(new RegExp(`^expiry-relay: ${cause}${remedy}\n$`));
  },
);
