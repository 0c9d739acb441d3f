/** Keys that expire, written by a script in Redis: a million in some seconds. */

/** @typedef {import('ioredis').Redis} Redis */

/** Some milliseconds of Redis's time. */
const AT_ONCE = 2_000;

const WRITE = `
for n = tonumber(ARGV[1]), tonumber(ARGV[2]) - 1 do
  local deadline = string.format('%d', ARGV[5] + n % ARGV[6])
  redis.call('SET', ARGV[3] .. n .. ARGV[4], '', 'PXAT', deadline)
end`;

/**
 * @typedef {object} Keys
 * @property {number} count
 * @property {string} [before] of the number in the name; default: `order:`
 * @property {string} [after] default: `:unpaid`
 * @property {number} deadlineMs of the first ones
 * @property {number} [spreadMs] over how many milliseconds the deadlines are spread, evenly; default: 1
 */

/**
 * @param {Redis} redis
 * @param {Keys} keys
 */
export async function writeKeys(redis, keys) {
  const { count, before = 'order:', after = ':unpaid', deadlineMs, spreadMs = 1 } = keys;
  for (let from = 0; from < count; from += AT_ONCE) {
    const to = Math.min(count, from + AT_ONCE);
    await redis.eval(WRITE, 0, from, to, before, after, deadlineMs, spreadMs);
  }
}

const HOUR_MS = 3_600_000;

/**
 * Keys that outlive the bench: deadlines in one to two hours.
 * @param {Redis} redis
 * @param {Pick<Keys, 'count' | 'before' | 'after'>} keys
 */
export function fill(redis, keys) {
  return writeKeys(redis, { ...keys, deadlineMs: Date.now() + HOUR_MS, spreadMs: HOUR_MS });
}
