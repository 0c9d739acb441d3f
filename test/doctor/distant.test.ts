/** Commands with high latency to Redis, or to the endpoints. */
import { describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { startDistant } from '../../scripts/lib/distant-server.mjs';
import { startRedis } from '../../scripts/lib/redis-server.mjs';
import { cli, tempFolder } from '../support/cli.js';
import { simpleFile } from '../support/relay-process.js';
import { TestReceiver } from '../support/test-receiver.js';
import { withRedis } from '../support/with-redis.js';

const WELL = ['--appendonly', 'yes', '--notify-keyspace-events', 'Exge'];

/** The output of a command for a file. */
async function run(file: object, ...argv: string[]) {
  await using folder = await tempFolder({ 'relay.yaml': stringify(file) });
  return await cli(argv, { cwd: folder.path });
}

describe.concurrent('from far away', () => {
  // With the longer one, all commands together exceed the time limit of a single one.
  it.each([300, 500])(
    'doctor finds no problem at a round trip of %d ms, and reports the possible throughput',
    async (roundTripMs) => {
      await using redis = await startRedis({ args: WELL });
      await using state = await startRedis({ args: WELL });
      await using receiver = await TestReceiver.start();
      await using distant = await startDistant(redis.port, roundTripMs);
      await using distantState = await startDistant(state.port, roundTripMs);
      const { code, stdout } = await run(
        simpleFile(`redis://127.0.0.1:${distant.port}`, receiver.url, {
          state: { url: `redis://127.0.0.1:${distantState.port}` },
        }),
        'doctor',
      );
      expect(stdout).not.toMatch(/^\[[-!]\]/m);
      expect(code).toBe(0);
      const bound = /throughput +at most about [\d,.]+ webhooks\/s with a round trip of [\d,]+ ms/g;
      expect(stdout.match(bound)).toHaveLength(2);
    },
  );

  it('doctor works for a user with few permissions, too', async () => {
    await using redis = await startRedis({ args: WELL });
    await withRedis(redis, (admin) =>
      admin.call(
        'ACL',
        'SETUSER',
        'limited',
        'on',
        '>pw',
        '~*',
        '&*',
        '+@all',
        '-acl',
        '-@scripting',
      ),
    );
    await using distant = await startDistant(redis.port, 300);
    const { stdout } = await run(
      simpleFile(`redis://limited:pw@127.0.0.1:${distant.port}`, 'http://127.0.0.1:9'),
      'doctor',
    );
    expect(stdout).toMatch(/\[-\] permissions +user limited lacks \+eval/);
    expect(stdout).not.toMatch(/Redis at .* (cannot be reached|no longer responds)/);
  });

  it('dead list and send work at a round trip of 300 ms', async () => {
    await using redis = await startRedis({ args: WELL });
    await using receiver = await TestReceiver.start();
    await using distant = await startDistant(redis.port, 300);
    await using distantReceiver = await startDistant(Number(new URL(receiver.url).port), 300);
    const file = simpleFile(
      `redis://127.0.0.1:${distant.port}`,
      `http://127.0.0.1:${distantReceiver.port}`,
    );
    const [listed, sent] = await Promise.all([
      run(file, 'dead', 'list'),
      run(file, 'send', 'order:1'),
    ]);
    expect(listed).toMatchObject({ code: 0, stdout: 'no dead letters\n', stderr: '' });
    expect(sent).toMatchObject({ code: 0, stderr: '' });
  });
});
