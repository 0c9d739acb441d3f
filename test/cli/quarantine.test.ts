// cspell:ignore bage
import { describe, expect, it } from 'vitest';
import { endpointKeys, quarantineKey } from '../../src/state/format.js';
import { cli, stateFile } from '../support/cli.js';
import { aDeadLetter, PREFIX, storeDeadLetters } from '../support/dead-letters.js';
import { sharedRedis } from '../support/shared-redis.js';

const shared = sharedRedis();
const keys = endpointKeys(PREFIX, 'shop');

async function run(...words: string[]) {
  const file = await stateFile(shared.server.url);
  const [group = '', name = '', ...rest] = words;
  return cli([group, name, '-c', file, ...rest]);
}

/** Beside a good one, a letter that no relay has written. */
async function storeUnreadable(value: string | Buffer = 'gar\u001bbage') {
  await storeDeadLetters(shared.client, [aDeadLetter({ delivery: { id: 'good' } })]);
  await shared.client.hset(keys.dead, 'bad', value);
  await shared.client.zadd(keys.deadOrder, '-inf', 'bad');
}

const idOf = ({ stdout }: { stdout: string }) => stdout.split(' ')[0] ?? '';

describe('a dead letter that cannot be read', () => {
  it.each([
    [['list'], 'good'],
    [['show', 'good'], 'id           good'],
    [['replay', '--all'], 'shop: 1 replayed'],
    [['drop', '--all'], 'shop: 1 dropped'],
  ])('does not keep dead %j from the others', async (words, shown) => {
    await storeUnreadable();
    const { code, stdout, stderr } = await run('dead', ...words);
    expect(code).toBe(0);
    expect(stdout).toContain(shown);
    if (words[0] === 'show') return;
    expect(stderr).toContain('1 state entry that no relay has written moved to the quarantine');
    expect(await shared.client.hexists(keys.dead, 'bad')).toBe(0);
    expect(await shared.client.zscore(keys.deadOrder, 'bad')).toBeNull();
  });
});

describe('an entry of the order of dead letters', () => {
  const NAMES = ['', 'x'.repeat(1024 * 1024), Buffer.from([0xff, 0xfe]), 'a\nb', '__proto__'];

  it.each(['-inf', '+inf', '1e300', '-5', '1.5'])(
    'by %s does not keep dead list from the others, whatever its name',
    async (score) => {
      await storeDeadLetters(shared.client, [aDeadLetter({ delivery: { id: 'good' } })]);
      await shared.client.zadd(keys.deadOrder, ...NAMES.flatMap((name) => [score, name]));
      await shared.client.zadd(keys.deadOrder, score, 'good');
      for (const limit of ['100', '0']) {
        const { code, stdout } = await run('dead', 'list', '--limit', limit);
        expect([code, stdout]).toEqual([
          0,
          expect.stringMatching(/^good .*\n1 dead letter: shop 1 \S+ 1\)\n$/m),
        ]);
      }
      const { stdout, stderr } = await run('dead', 'show', 'good');
      expect([stdout, stderr]).toEqual([expect.stringContaining('id           good'), '']);
      expect(await shared.client.zrange(keys.deadOrder, 0, '-1')).toEqual(['good']);
      expect((await run('quarantine', 'list')).stdout).toContain('not the id of a dead letter');
    },
  );
});

describe('the quarantine', () => {
  it('is listed, shown and emptied', async () => {
    await storeUnreadable();
    await run('dead', 'list');
    const list = await run('quarantine', 'list');
    expect(list).toMatchObject({ code: 0, stderr: '' });
    expect(list.stdout).toMatch(
      /^\d+-0 {2}20\S+Z {2}\{expiry-relay\}:1:outbox:shop:dead {2}field {2}bad {2}expected a line of JSON and a body, found one line\n1 entry\n/,
    );
    const id = idOf(list);
    const shown = await run('quarantine', 'show', id);
    expect(shown.stdout).toContain('value      8 bytes\ngar\\x1bbage\n');
    expect((await run('quarantine', 'show', id, '--value')).stdout).toBe('gar\u001bbage');
    expect(JSON.parse((await run('quarantine', 'show', id, '--json')).stdout)).toMatchObject({
      ...{ id, key: keys.dead, kind: 'field', bytes: 8 },
      name_base64: Buffer.from('bad').toString('base64'),
    });
    expect(await run('quarantine', 'drop', id)).toEqual({
      ...{ code: 0, stdout: '1 entry dropped\n', stderr: '' },
    });
    expect((await run('quarantine', 'list')).stdout).toBe('no quarantined entries\n');
    expect(await run('quarantine', 'show', id)).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('no such quarantined entry'),
    });
  });

  it('says where the content of a whole key is', async () => {
    await storeDeadLetters(shared.client, [aDeadLetter({ delivery: { id: 'good' } })]);
    await shared.client.multi().del(keys.dead).set(keys.dead, 'hello').exec();
    await run('dead', 'show', 'good');
    const { stdout } = await run('quarantine', 'show', idOf(await run('quarantine', 'list')));
    expect(stdout).toContain(`renamed to {${PREFIX}}:1:quarantine:outbox:shop:dead\n`);
    expect(stdout).toContain(
      'value      the whole key, under its new name (see TYPE in redis-cli)',
    );
  });

  it('shows the newest up to the limit', async () => {
    for (let n = 0; n < 3; n += 1) {
      const record = ['n', n + 1, 'key', `k${n}`, 'kind', 'field', 'reason', 'x', 'name', n];
      await shared.client.xadd(quarantineKey(PREFIX), '*', ...record, 'bytes', 0, 'value', '');
    }
    const { stdout } = await run('quarantine', 'list', '--limit', '2');
    expect(stdout).toMatch(/ k1 .*\n.* k2 .*\n2 entries; 1 older or dropped not shown\n/);
    expect(stdout).not.toContain(' k0 ');
    expect((await run('quarantine', 'drop', '--all')).stdout).toBe('3 entries dropped\n');
  });

  it('lists what others have written there, too', async () => {
    await shared.client.xadd(quarantineKey(PREFIX), '18446744073709551615-1', 'f', '\u001b[2J');
    const { code, stdout } = await run('quarantine', 'list');
    expect(code).toBe(0);
    expect(stdout).toContain('unknown');
    expect(stdout).not.toContain('\u001b');
  });

  it('drops nothing without ids or --all', async () => {
    expect((await run('quarantine', 'drop')).code).toBe(2);
  });
});
