/** `dead list` beside 200,000 dead letters, in a separate process. */

import { expect, it } from 'vitest';
import { endpointKeys, endpointsKey } from '../../src/state/format.js';
import { stateFile } from '../support/cli.js';
import { PREFIX } from '../support/dead-letters.js';
import { runCommand } from '../support/relay-process.js';
import { sharedRedis } from '../support/shared-redis.js';

const LETTERS = 200_000;
const RUNS = 7;

const MS_MAX = 300;
const RSS_MB_MAX = 80;

const shared = sharedRedis();

/** Prints the maximum memory of the process at its end, in kilobytes. */
const TELL_MEMORY =
  'process.on("exit",()=>process.stderr.write(`${process.resourceUsage().maxRSS}`))';

const median = (values: readonly number[]) => values.toSorted((a, b) => a - b)[RUNS >> 1];

it('lists the newest 100 of 200,000 dead letters quickly and in little memory', async () => {
  const { dead, deadOrder } = endpointKeys(PREFIX, 'shop');
  const delivery = { endpoint: 'shop', route: 'cancel', path: '', key: 'order:1', database: 0 };
  const times = { expired_at_ms: 1, detected_at_ms: 1, detected_by: 'notification' };
  const head = JSON.stringify({ id: 'ID', ...delivery, ...times });
  const lua = `for i = ARGV[1], ARGV[2] do
    local id = string.format('msg_%032d', i)
    local death = string.format(
      '{"reason":"exhausted","attempts":3,"last_outcome":null,"died_at_ms":%d}\\n', i)
    redis.call('HSET', KEYS[1], id, death .. string.gsub(ARGV[3], 'ID', id) .. '\\n{}')
    redis.call('ZADD', KEYS[2], i, id)
  end`;
  for (let from = 1; from <= LETTERS; from += 10_000) {
    await shared.client.eval(lua, 2, dead, deadOrder, from, from + 9_999, head);
  }
  await shared.client.zadd(endpointsKey(PREFIX), 1, 'shop');
  const file = await stateFile(shared.server.url);
  const env = { NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(TELL_MEMORY)}` };
  const runs: { ms: number; rssMb: number }[] = [];
  for (let run = 0; run < RUNS; run += 1) {
    const startedAtMs = performance.now();
    const args = ['dead', 'list', '-c', file];
    const { code, stdout, stderr } = await runCommand(args, { env });
    const ms = performance.now() - startedAtMs;
    expect(code, stderr).toBe(0);
    const lines = stdout.trim().split('\n');
    expect(lines).toHaveLength(102);
    expect(lines[100]).toContain('msg_00000000000000000000000000200000');
    expect(lines[101]).toBe(
      '200000 dead letters: shop 200000; 199900 older not shown (--limit 0: all)',
    );
    runs.push({ ms, rssMb: Number(stderr) / 1_024 });
  }
  expect(median(runs.map(({ ms }) => ms))).toBeLessThanOrEqual(MS_MAX);
  expect(median(runs.map(({ rssMb }) => rssMb))).toBeLessThanOrEqual(RSS_MB_MAX);
});
