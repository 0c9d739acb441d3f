/**
 * How late a webhook comes after its key's deadline, beside so many other keys that will expire,
 * too: the relay, a plain subscriber on `expired` that POSTs by itself, and BullMQ's delayed jobs.
 * The three one after the other, at each size, on servers of their own with the same content.
 */
import { Redis } from 'ioredis';
import { startRedis } from '../scripts/lib/redis-server.mjs';
import { startBullMq } from './lib/bullmq.mjs';
import { addEvenly } from './lib/evenly.mjs';
import { fill } from './lib/keys.mjs';
import { summaryMs } from './lib/percentiles.mjs';
import { startReceiver } from './lib/receiver.mjs';
import { startRelay } from './lib/relay.mjs';
import { startSubscriber } from './lib/subscriber.mjs';
import { SECRET } from './lib/webhook.mjs';

const PER_SECOND = 200;
const LIFE_MS = 2_000;
/** A plain subscriber hears most of its keys only much later: it is not waited for. */
const PATIENCE_MS = 20_000;
/** The same for the relay and BullMQ: more than they need. */
const CONCURRENCY = 32;

/**
 * @typedef {object} Place
 * @property {import('../scripts/lib/redis-server.mjs').RunningRedis} server
 * @property {Redis} redis
 * @property {string} receiverUrl
 *
 * @typedef {object} Side
 * @property {(name: string, deadlineMs: number) => Promise<unknown>} add has the webhook sent at
 *   its deadline, to /NAME/DEADLINE
 * @property {() => Promise<void>} stop
 */

/**
 * @param {Redis} redis
 * @returns {Side['add']}
 */
const setOn = (redis) => (name, deadlineMs) =>
  redis.set(`order:${name}:${deadlineMs}`, '', 'PXAT', deadlineMs);

/** @type {Readonly<Record<string, (place: Place) => Promise<Side>>>} */
const SIDES = {
  async relay({ server, redis, receiverUrl: url }) {
    const relay = await startRelay({
      redis: { url: server.url },
      endpoints: { shop: { url, secrets: [SECRET], concurrency: CONCURRENCY } },
      routes: [
        {
          name: 'orders',
          match: 'order:{name}:{deadline}',
          to: 'shop',
          path: '/{name}/{deadline}',
        },
      ],
    });
    await relay.ready();
    return { add: setOn(redis), stop: relay.stop };
  },
  async subscriber({ server, redis, receiverUrl }) {
    const { stop } = await startSubscriber({ redisUrl: server.url, receiverUrl });
    return { add: setOn(redis), stop };
  },
  async bullmq({ server, receiverUrl }) {
    const options = { redisPort: server.port, receiverUrl, concurrency: CONCURRENCY };
    const bullMq = await startBullMq(options);
    return {
      add: (name, deadlineMs) =>
        bullMq.add(
          [{ key: `order:${name}:${deadlineMs}`, path: `/${name}/${deadlineMs}` }],
          deadlineMs,
        ),
      stop: bullMq.stop,
    };
  },
};

/**
 * @param {readonly string[]} args sizes, with commas; seconds; rounds; `tracked` when the other
 *   keys are to be such as the relay's route is about
 */
export async function lateness([
  sizes = '0,10000,100000,1000000',
  seconds = '10',
  rounds = '1',
  which,
]) {
  const count = PER_SECOND * Number(seconds);
  const receiver = await startReceiver();
  for (const size of sizes.split(',').map(Number)) {
    process.stdout.write(
      `${size} other volatile keys${which === 'tracked' ? ', tracked' : ''}; ` +
        `${PER_SECOND} keys a second for ${seconds} s; deadline → webhook received\n`,
    );
    for (let round = 1; round <= Number(rounds); round += 1) {
      for (const [name, start] of Object.entries(SIDES)) {
        const server = await startRedis();
        const redis = new Redis(server.url, { protocol: 2 });
        const before = which === 'tracked' ? 'order:' : 'other:';
        await fill(redis, { count: size, before, after: ':0' });
        const side = await start({ server, redis, receiverUrl: receiver.url });
        await receiver.reset();
        await addEvenly({ count, perSecond: PER_SECOND, lifeMs: LIFE_MS }, side.add);
        const { latenessesMs } = await receiver.reached(count, LIFE_MS + PATIENCE_MS);
        await side.stop();
        redis.disconnect();
        await server.stop();
        const came = latenessesMs.length;
        const within =
          came === count ? '' : ` within ${PATIENCE_MS / 1_000} s of the last deadline`;
        process.stdout.write(
          `  ${name.padEnd(10)} ${came} of ${count} arrived${within}: ${summaryMs(latenessesMs)}\n`,
        );
      }
    }
  }
  await receiver.stop();
}
