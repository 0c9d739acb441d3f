/**
 * The main job on one screen: a real Redis, the relay, and a receiver that verifies. Sets a few
 * keys with a short life and shows each webhook with its lateness. Exits non-zero when one is
 * missing, or one comes that should not.
 */
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { styleText } from 'node:util';
import { Redis } from 'ioredis';
import { startRedis } from './lib/redis-server.mjs';

const MAIN = fileURLToPath(new URL('../dist/main.js', import.meta.url));
const FILE = fileURLToPath(new URL('../examples/demo/relay.yaml', import.meta.url));

/** How long the relay and the receiver may take to come up. */
const START_MS_MAX = 15_000;
/** How long after the last deadline a webhook may still come. */
const LATE_MS_MAX = 10_000;
/** How long to watch that no webhook is sent for the keys that must not expire. */
const SILENCE_MS = 1_000;

/**
 * @typedef {object} DemoKey
 * @property {string} name
 * @property {number} lifeMs
 * @property {string} fate what is going to happen, in words
 * @property {boolean} webhook whether one must come
 * @property {number} [deleteAfterMs]
 */

/** @type {readonly DemoKey[]} */
const KEYS = [
  { name: 'order:1001:unpaid', lifeMs: 1_000, fate: 'expires', webhook: true },
  { name: 'order:1002:unpaid', lifeMs: 2_000, fate: 'expires', webhook: true },
  {
    name: 'order:1003:unpaid',
    lifeMs: 3_000,
    fate: 'is paid: deleted after 1.5 s, so no webhook',
    webhook: false,
    deleteAfterMs: 1_500,
  },
  { name: 'cart:77', lifeMs: 2_000, fate: 'matches no route, so no webhook', webhook: false },
  { name: 'order:1004:unpaid', lifeMs: 3_000, fate: 'expires', webhook: true },
];

/** One line of `expiry-relay listen`, as far as the demo reads it.
 * @typedef {object} Webhook
 * @property {string} received_at
 * @property {boolean} verified
 * @property {string} path
 * @property {{ type: string, data: { key: string } }} body
 */

/** @type {(() => void | Promise<void>)[]} */
const cleanUps = [];

/** @param {string} [text] */
const say = (text = '') => process.stdout.write(`${text}\n`);

/** @param {number} timeMs */
const clockTime = (timeMs) => new Date(timeMs).toISOString().slice(11, 23);

/**
 * A command of the relay in the background; its output is kept for the case that it fails.
 * @param {string[]} args
 * @param {Record<string, string>} env
 */
function start(args, env) {
  const child = spawn(process.execPath, [MAIN, ...args], {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const run = { stdout: '', stderr: '', ended: false };
  child.stdout.setEncoding('utf8').on('data', (text) => {
    run.stdout += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text) => {
    run.stderr += text;
  });
  /** @type {Promise<void>} */
  const exit = new Promise((resolve) => {
    child.once('close', () => {
      run.ended = true;
      resolve();
    });
  });
  cleanUps.push(async () => {
    child.kill('SIGTERM');
    await exit;
  });
  return run;
}

/**
 * Waits until the output says so.
 * @param {{ stdout: string, stderr: string, ended: boolean }} run
 * @param {RegExp} pattern
 */
async function untilSaid(run, pattern) {
  const giveUpMs = performance.now() + START_MS_MAX;
  for (;;) {
    const found = pattern.exec(run.stdout) ?? pattern.exec(run.stderr);
    if (found) return found;
    if (run.ended || performance.now() > giveUpMs) {
      throw new Error(`it did not start; its output:\n${run.stdout}${run.stderr}`);
    }
    await sleep(20);
  }
}

/** Starts everything, and prints the addresses. */
async function setUp() {
  const redis = await startRedis();
  cleanUps.push(() => redis.stop());
  const secret = (await untilSaid(start(['secret'], {}), /whsec_\S+/))[0];
  const listen = start(['listen', '--port', '0', '--secret', secret], {});
  const receiverUrl = (await untilSaid(listen, /http:\S+/))[0];
  const relay = start(['run', '-c', FILE], {
    REDIS_URL: redis.url,
    SHOP_URL: `${receiverUrl}/hooks`,
    SHOP_WEBHOOK_SECRET: secret,
  });
  await untilSaid(relay, /"event":"listening"/);
  const client = new Redis(redis.url);
  cleanUps.push(() => client.disconnect());
  say(`  redis-server   ${redis.url}`);
  say(`  a receiver     ${receiverUrl}   (expiry-relay listen)`);
  say(`  the relay      with ${styleText('bold', 'examples/demo/relay.yaml')}:`);
  say();
  say(styleText('dim', readFileSync(FILE, 'utf8').trimEnd().replaceAll(/^/gm, '    ')));
  return { client, listen, relay };
}

/**
 * Sets the keys; tells when each one's life is over.
 * @param {Redis} client
 */
async function setKeys(client) {
  say();
  say(styleText('bold', 'Keys set in Redis'));
  /** @type {Map<string, number>} */
  const dueMs = new Map();
  for (const { name, lifeMs, fate, deleteAfterMs } of KEYS) {
    await client.set(name, 'anything', 'PX', lifeMs);
    const due = Date.now() + (await client.pttl(name));
    dueMs.set(name, due);
    say(`  ${name.padEnd(18)} due ${clockTime(due)}   ${styleText('dim', fate)}`);
    if (deleteAfterMs !== undefined) {
      const timer = setTimeout(() => void client.del(name), deleteAfterMs);
      cleanUps.push(() => clearTimeout(timer));
    }
  }
  return dueMs;
}

/**
 * Shows each webhook as it comes, until all that must come have come, and a while longer.
 * @param {{ stdout: string }} listen
 * @param {Map<string, number>} dueMs
 */
async function watch(listen, dueMs) {
  say();
  say(styleText('bold', 'Webhooks received'));
  /** @type {Webhook[]} */
  const received = [];
  const missing = new Set(KEYS.filter(({ webhook }) => webhook).map(({ name }) => name));
  let endMs = Math.max(...dueMs.values()) + LATE_MS_MAX;
  let shown = 0;
  while (Date.now() < endMs) {
    const lines = listen.stdout.split('\n').slice(0, -1);
    for (; shown < lines.length; shown += 1) {
      /** @type {Webhook} */
      const webhook = JSON.parse(lines[shown] ?? '');
      received.push(webhook);
      show(webhook, dueMs.get(webhook.body.data.key) ?? Number.NaN);
      missing.delete(webhook.body.data.key);
      if (missing.size === 0) endMs = Math.max(...dueMs.values(), Date.now()) + SILENCE_MS;
    }
    await sleep(20);
  }
  return received;
}

/**
 * @param {Webhook} webhook
 * @param {number} dueMs
 */
function show({ received_at, verified, path, body }, dueMs) {
  const mark = verified ? styleText('green', '✓ verified') : styleText('red', '✗ NOT VERIFIED');
  const lateMs = Date.parse(received_at) - dueMs;
  say(
    `  ${body.data.key.padEnd(18)} at  ${received_at.slice(11, 23)}   ${mark}   ` +
      `${styleText('bold', `${lateMs} ms late`)}   POST ${path}`,
  );
}

/**
 * * The failures, in words; empty without any.
 * @param {Webhook[]} received
 */
function faults(received) {
  return KEYS.flatMap(({ name, webhook }) => {
    const mine = received.filter(({ body }) => body.data.key === name);
    if (!webhook) return mine.length === 0 ? [] : [`${name} must not cause a webhook, but did`];
    if (mine.length !== 1) return [`expected one webhook for ${name}, received ${mine.length}`];
    return mine.every(({ verified }) => verified) ? [] : [`the webhook for ${name} is forged`];
  });
}

async function main() {
  say();
  say(styleText('bold', 'expiry-relay: a key expires, a signed webhook arrives'));
  say();
  const { client, listen, relay } = await setUp();
  const dueMs = await setKeys(client);
  const found = faults(await watch(listen, dueMs));
  say();
  if (found.length > 0) {
    for (const fault of found) say(styleText('red', `✗ ${fault}`));
    say(`The relay's log:\n${relay.stdout}${relay.stderr}`);
    return 1;
  }
  say(styleText('green', '✓ each expired order sent one verified webhook; no other key did'));
  say();
  say('Next, with a Redis of your own:');
  say('  node dist/main.js secret                    generate a secret for relay.yaml');
  say('  node dist/main.js check -c relay.yaml       validate it');
  say('  node dist/main.js match order:42:unpaid     show the webhook of a key');
  say('  node dist/main.js doctor                    diagnose your Redis and endpoints');
  say('  node dist/main.js run                       start the relay');
  say('The guide is in docs/getting-started.md; relay.example.yaml has every key.');
  return 0;
}

async function cleanUp() {
  for (const run of cleanUps.splice(0).reverse()) await run();
}

for (const signal of /** @type {const} */ (['SIGINT', 'SIGTERM'])) {
  process.once(signal, () => void cleanUp().finally(() => process.exit(1)));
}
try {
  process.exitCode = await main();
} catch (error) {
  say(styleText('red', `✗ ${error instanceof Error ? error.message : error}`));
  process.exitCode = 1;
} finally {
  await cleanUp();
}
