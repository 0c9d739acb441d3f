/** BullMQ: delayed jobs, and a worker in a separate process that sends a signed POST for each. */
import { requireBullMq } from './bullmq-install.mjs';
import { isChild, serve, startChild } from './child.mjs';
import { aBody, webhookSender } from './webhook.mjs';

const QUEUE = 'orders';

/** Jobs that are added together. */
const AT_ONCE = 1_000;

/**
 * @typedef {object} WorkerOptions
 * @property {number} redisPort
 * @property {string} receiverUrl
 * @property {number} concurrency
 * @property {string} [client] of webhookSender
 */

/** @typedef {{ id: string, data: { key: string, path: string } }} Job */

if (isChild(import.meta.url)) serve(work);

/** @param {number} port */
function connectionTo(port) {
  return { host: '127.0.0.1', port, maxRetriesPerRequest: null };
}

/** @param {WorkerOptions} options */
async function work({ redisPort, receiverUrl, concurrency, client }) {
  const { Worker } = requireBullMq();
  const sender = webhookSender(receiverUrl, concurrency, client);
  const worker = new Worker(
    QUEUE,
    (/** @type {Job} */ { id, data: { key, path } }) =>
      sender.send({ id: `msg_${id}`, path, body: aBody(key) }),
    { connection: connectionTo(redisPort), concurrency },
  );
  worker.on('error', (/** @type {Error} */ error) => process.stderr.write(`bullmq: ${error}\n`));
  await worker.waitUntilReady();
  return { close: () => worker.close() };
}

/** @param {WorkerOptions} options */
export async function startBullMq(options) {
  const { Queue } = requireBullMq();
  const worker = await startChild(import.meta.url, options);
  const queue = new Queue(QUEUE, { connection: connectionTo(options.redisPort) });
  await queue.waitUntilReady();
  return {
    pid: worker.pid,
    /**
     * @param {readonly { key: string, path: string }[]} due
     * @param {number} deadlineMs
     */
    async add(due, deadlineMs) {
      // The same for all: the delay counts from it.
      const timestamp = Date.now();
      const opts = { timestamp, delay: deadlineMs - timestamp, removeOnComplete: true };
      for (let from = 0; from < due.length; from += AT_ONCE) {
        const some = due.slice(from, from + AT_ONCE);
        await queue.addBulk(some.map((data) => ({ name: 'order', data, opts })));
      }
    },
    async stop() {
      await worker.ask('close');
      await worker.stop();
      await queue.close();
    },
  };
}
