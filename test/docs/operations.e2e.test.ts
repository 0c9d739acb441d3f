/** The commands of the operations pages and of docs/troubleshooting.md, run as they are. */
import { describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { freePort } from '../../scripts/lib/free-port.mjs';
import { blockOf } from '../support/doc-pages.js';
import { docShell, missingLines } from '../support/doc-shell.js';
import { eventually } from '../support/eventually.js';
import { RelayProcess, simpleFile } from '../support/relay-process.js';
import { sharedRedis } from '../support/shared-redis.js';
import { TestReceiver } from '../support/test-receiver.js';

const REDIS_PAGE = 'docs/operations/redis.md';
const TROUBLESHOOTING = 'docs/troubleshooting.md';

const shared = sharedRedis();

/** A running relay with one dead letter, whose receiver has been fixed. */
async function withDeadLetter(key: string) {
  const receiver = await TestReceiver.start((_, response) => {
    response.writeHead(500).end();
  });
  const listen = `127.0.0.1:${await freePort()}`;
  const file = simpleFile(shared.server.url, receiver.url, {
    endpoint: { retry: { schedule: [] } },
    admin: { listen },
  });
  const relay = await RelayProcess.start(file);
  await shared.client.set(key, '', 'PX', 10);
  const series = 'expiry_relay_dead_letters{endpoint="shop"}';
  await eventually('a dead letter', async () => (await relay.metric(series)) === 1);
  receiver.respond = (_, response) => void response.writeHead(204).end();
  return {
    receiver,
    relay,
    listen,
    file,
    async [Symbol.asyncDispose]() {
      await relay[Symbol.asyncDispose]();
      await receiver[Symbol.asyncDispose]();
    },
  };
}

describe('the commands of the operations pages', () => {
  it('have an ACL that is sufficient, also without the line for the state', async () => {
    await using shell = await docShell(shared.server.url, {});
    const command = blockOf(REDIS_PAGE, 'sh', 'ACL SETUSER');
    const commands = { redis: command, memory: command.replace(/^.*\+eval .*\n/m, '') };
    expect(commands.memory).not.toBe(command);
    for (const [kind, script] of Object.entries(commands)) {
      await using setUser = shell.start(script);
      expect(await setUser.exited).toBe(0);
      await using receiver = await TestReceiver.start();
      const url = `redis://relay:a-password@127.0.0.1:${shared.server.port}`;
      const file = simpleFile(url, receiver.url, { state: { kind } });
      await using relay = await RelayProcess.start(file);
      await shared.client.set(`acl:${kind}`, '', 'PX', 10);
      await eventually('the webhook', () => receiver.keys.includes(`acl:${kind}`));
      await relay.stop();
      const events = relay.logs().map(({ level, event }) => `${level} ${event}`);
      // The server of these tests does not persist.
      const expected = /^info |notifications_changed|state_in_memory|state_persistence/;
      expect(events.filter((line) => !expected.test(line))).toEqual([]);
      expect(relay.logs('notifications_unreadable')).toEqual([]);
    }
  });

  it('enable the notifications of new keys', async () => {
    await using shell = await docShell(shared.server.url, {});
    await using config = shell.start(blockOf(REDIS_PAGE, 'sh', 'Exgen'));
    expect(await config.exited).toBe(0);
    const [, setting = ''] = await shared.client.config('GET', 'notify-keyspace-events');
    expect([...String(setting)].sort()).toEqual([...'Exgen'].sort());
  });

  it('reload the configuration', async () => {
    const listen = `127.0.0.1:${await freePort()}`;
    const file = simpleFile(shared.server.url, 'http://127.0.0.1:9/', { admin: { listen } });
    await using relay = await RelayProcess.start(file);
    await relay.rewrite({ ...file, log: { level: 'debug' } });
    await using shell = await docShell(shared.server.url, {});
    const command = blockOf('docs/operations/monitoring.md', 'sh', '/api/v1/reload');
    await using reload = shell.start(command.replaceAll('127.0.0.1:9464', listen));
    expect(await reload.exited).toBe(0);
    expect(reload.run.output).toContain('{"result":"applied","changed":["log.level"]}');
  });

  it('list, replay and delete dead letters', async () => {
    await using failed = await withDeadLetter('order:44:unpaid');
    await using shell = await docShell(shared.server.url, { 'relay.yaml': stringify(failed.file) });
    await using dead = shell.start(blockOf('docs/operations/dead-letters.md', 'sh', 'dead drop'));
    expect(await dead.exited).toBe(0);
    expect(dead.run.output).toContain('1 dead letter: shop 1 (exhausted 1)\nshop: 1 replayed\n');
    expect(dead.run.output).toContain('nothing dropped');
    const { receiver } = failed;
    await eventually('the webhook', () => receiver.requests.length === 2);
    expect(receiver.requests[1]?.id).toBe(receiver.requests[0]?.id);
  });

  it('diagnose an endpoint and replay its webhooks, as the incident on the page on troubleshooting', async () => {
    await using failed = await withDeadLetter('order:45:unpaid');
    await using shell = await docShell(shared.server.url, { 'relay.yaml': stringify(failed.file) });
    await using checks = shell.start(blockOf(TROUBLESHOOTING, 'sh', 'healthcheck --ready'));
    expect(await checks.exited).toBe(0);
    await using replay = shell.start(blockOf(TROUBLESHOOTING, 'sh', 'dead replay'));
    expect(await replay.exited).toBe(0);
    expect(replay.run.output).toContain('shop: 1 replayed');
    await eventually('the webhook', () => failed.receiver.requests.length === 2);
    await eventually('an empty outbox', async () => {
      return (await failed.relay.metric('expiry_relay_outbox_pending{endpoint="shop"}')) === 0;
    });
    const proof = blockOf(TROUBLESHOOTING, 'sh', 'outbox_pending').replace(
      '127.0.0.1:9464',
      failed.listen,
    );
    await using check = shell.start(proof);
    expect(await check.exited).toBe(0);
    const documented = blockOf(TROUBLESHOOTING, 'text', 'no dead letters match');
    expect(missingLines(documented, check.run.output)).toEqual([]);
  });
});
