/**
 * A million keys that expire within the same second: the time until each is a stored delivery, and
 * what that costs the relay. Not until all are delivered: it says how many are by then.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { startRedis } from '../scripts/lib/redis-server.mjs';
import { openOutbox } from './lib/backlog.mjs';
import { writeKeys } from './lib/keys.mjs';
import { mib, residentBytesMax } from './lib/memory.mjs';
import { startReceiver } from './lib/receiver.mjs';
import { shopFile, startRelay } from './lib/relay.mjs';
import { SECRET } from './lib/webhook.mjs';

const SPREAD_MS = 1_000;

/** Time for the relay to start and to sweep all keys at this pace. */
const LEAD_MS = 10_000;
const TRACKED_PER_MS = 5;

/** Metrics that show failures if they are not 0. */
const TELLING = [
  'expirations_dropped_total',
  'key_changes_dropped_total',
  'state_errors_total',
  'deadlines_discarded_total',
  'dead_letters',
  'log_lines_dropped_total',
];

const RECOVERED = 'expirations_total{route="cancel-unpaid-order",detected_by="recovery"}';

/** @param {readonly string[]} args keys; the endpoint's concurrency */
export async function flood([keys = '1000000', concurrency = '100']) {
  const count = Number(keys);
  const receiver = await startReceiver();
  const server = await startRedis();
  const redis = new Redis(server.url, { protocol: 2 });
  const deadlineMs = Date.now() + LEAD_MS + Math.ceil(count / TRACKED_PER_MS);
  await writeKeys(redis, { count, deadlineMs, spreadMs: SPREAD_MS });
  const endpoint = { url: receiver.url, secrets: [SECRET], concurrency: Number(concurrency) };
  const relay = await startRelay(shopFile(server.url, endpoint));
  const isLate = () => Date.now() > deadlineMs;
  await relay.metricIs('tracked_deadlines', (tracked) => tracked >= count || isLate());
  if (isLate()) throw new Error('the relay took longer to track the keys than they live');
  const rssBefore = await residentBytesMax(relay.pid);

  await sleep(deadlineMs - Date.now());
  // An entry leaves the index in the same step that stores the delivery.
  await relay.metricIs('tracked_deadlines', (tracked) => tracked === 0);
  const capturedS = (Date.now() - deadlineMs) / 1_000;
  const deliveredByThen = await receiver.count();
  const metrics = await relay.metrics();
  const rssMax = await residentBytesMax(relay.pid);
  const cutOff = /client_output_buffer_limit_disconnections:(\d+)/.exec(await redis.info('stats'));
  // Attempts in progress end first, so that each delivery is counted once.
  await relay.stop();
  const outbox = await openOutbox(server.port);
  const waiting = await outbox.pending();
  outbox.close();
  const delivered = await receiver.count();

  const wrong = TELLING.flatMap((name) => {
    const value = metrics.get(name) ?? 0;
    return value === 0 ? [] : [`${name} ${value}`];
  });
  const sum = waiting + delivered;
  process.stdout.write(
    `${count} keys due within ${SPREAD_MS} ms\n` +
      `  all captured ${capturedS.toFixed(1)} s after the first deadline; ` +
      `${deliveredByThen} delivered by then; ${metrics.get(RECOVERED) ?? 0} recovered\n` +
      `  relay, resident at most: ${mib(rssMax)} (${mib(rssBefore)} before the first deadline)\n` +
      `  its subscriber cut off by Redis: ${cutOff?.[1] ?? 'not counted by this Redis'}; ` +
      `gaps: ${metrics.get('gaps_total') ?? 0}\n` +
      `  what went wrong: ${wrong.join(', ') || 'nothing'}\n` +
      `  ${waiting} waiting + ${delivered} delivered = ${sum} ` +
      `(${sum === count ? 'all of them' : `expected ${count}`})\n`,
  );
  redis.disconnect();
  await server.stop();
  await receiver.stop();
}
