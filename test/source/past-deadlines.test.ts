/** Notifications for a deadline that has passed, compared with the table in docs/operations/redis.md. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Redis } from 'ioredis';
import { expect, it } from 'vitest';
import { startRedis } from '../../scripts/lib/redis-server.mjs';

const PAGE = readFileSync(
  fileURLToPath(new URL('../../docs/operations/redis.md', import.meta.url)),
  'utf8',
);

/** The cells of the table's heading and of its rows. */
function tableOfPage(): string[][] {
  const [, section = ''] = PAGE.split('\n## Deadlines in the past\n');
  const rows = (section.split('\n## ')[0] ?? '').matchAll(/^\| (.*) \|$/gm);
  return [...rows].map(([, row = '']) => row.split(' | ').map((cell) => cell.trim()));
}

/** The heading of the server's column. */
function columnOf(info: string): string {
  const valkey = /^valkey_version:(\d+)\.(\d+)/m.exec(info)?.slice(1).map(Number);
  if (valkey === undefined) return 'Redis';
  const [major = 0, minor = 0] = valkey;
  return major > 8 || (major === 8 && minor >= 1) ? 'Valkey from 8.1' : 'Valkey 8.0';
}

/** A command as the page writes it, as words. `past` and `dump` are filled in. */
function wordsOf(command: string, dump: Buffer): (string | Buffer)[] {
  const past = String(Date.now() - 5_000);
  return command.split(' ').map((word) => {
    return word === 'past' ? past : word === 'dump' ? dump : word;
  });
}

it('a deadline in the past causes the documented notifications', async () => {
  await using server = await startRedis({ args: ['--notify-keyspace-events', 'AE'] });
  const redis = new Redis(server.url, { protocol: 2 });
  const subscriber = new Redis(server.url, { protocol: 2 });
  try {
    const received: string[] = [];
    subscriber.on('pmessage', (_pattern, channel: string) => {
      received.push(`\`${channel.replace(/^.*:/, '')}\``);
    });
    await subscriber.psubscribe('__keyevent@0__:*');
    await redis.set('other', 'x');
    const dump = await redis.dumpBuffer('other');
    const [heading = [], ...rows] = tableOfPage();
    const at = heading.indexOf(columnOf(await redis.info('server')));
    expect([at > 0, rows.length]).toEqual([true, 8]);
    const documented: string[] = [];
    const measured: string[] = [];
    for (const row of rows) {
      const [cell = ''] = row;
      for (const [, command = ''] of cell.matchAll(/`([A-Z][^`]*)`/g)) {
        await redis.del('k');
        if (!cell.startsWith('no such key')) await redis.set('k', 'x', 'EX', 60);
        await subscriber.ping();
        received.length = 0;
        const [name = '', ...words] = wordsOf(command, dump);
        await redis.call(String(name), ...words);
        // A read expires a key with a deadline in the past.
        await redis.exists('k');
        await subscriber.ping();
        measured.push(`${cell}: ${received.join(', ') || 'nothing'}`);
        documented.push(`${cell}: ${row[at]}`);
      }
    }
    expect(measured).toEqual(documented);
  } finally {
    redis.disconnect();
    subscriber.disconnect();
  }
});
