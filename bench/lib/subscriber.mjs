/** A subscriber to `expired` as in tutorials, in a separate process, which sends the POST requests. */
import { Redis } from 'ioredis';
import { isChild, serve, startChild } from './child.mjs';
import { aBody, webhookSender } from './webhook.mjs';

const CONNECTIONS = 32;

if (isChild(import.meta.url)) serve(subscribe);

/** @param {{ redisUrl: string, receiverUrl: string }} options */
async function subscribe({ redisUrl, receiverUrl }) {
  const sender = webhookSender(receiverUrl, CONNECTIONS);
  const redis = new Redis(redisUrl);
  await redis.config('SET', 'notify-keyspace-events', 'Ex');
  redis.on('message', (_, /** @type {string} */ key) => {
    const [, name, deadlineMs] = key.split(':');
    // A failed request is lost, as in tutorials.
    const webhook = { id: key, path: `/${name}/${deadlineMs}`, body: aBody(key) };
    sender.send(webhook).catch(() => undefined);
  });
  await redis.subscribe('__keyevent@0__:expired');
  return {};
}

/** @param {{ redisUrl: string, receiverUrl: string }} options */
export const startSubscriber = (options) => startChild(import.meta.url, options);
