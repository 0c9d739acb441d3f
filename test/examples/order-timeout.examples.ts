/** examples/php-order-timeout, unchanged, with real PHP, MariaDB, Redis and relay. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { freePort } from '../../scripts/lib/free-port.mjs';
import { TEST_SECRET } from '../support/domain.js';
import { eventually } from '../support/eventually.js';
import { LossyProxy } from '../support/examples/lossy-proxy.js';
import { MariaDb } from '../support/examples/mariadb.js';
import {
  EXAMPLES,
  missing,
  type Program,
  runProgram,
  startProgram,
  succeed,
} from '../support/examples/program.js';
import {
  aBody,
  post,
  type SignedWebhook,
  secondsFromNow,
  signed,
} from '../support/examples/signed.js';
import { RelayProcess } from '../support/relay-process.js';
import { sharedRedis } from '../support/shared-redis.js';

const FOLDER = join(EXAMPLES, 'php-order-timeout');
const MAIN = join(EXAMPLES, '../dist/main.js');

/** As in the middle of a rotation. */
const RETIRED_SECRET = 'whsec_dGhlIHNlY3JldCBvZiB0aGUgeWVhciBiZWZvcmUgIQ==';
/** Beside the time that the order had; PHP starts for each step, and machines are busy. */
const LATE_MS_MAX = 2_000;

const RUNS_HERE = !missing.has('php-order-timeout');

const shared = sharedRedis();
let mariadb: MariaDb;
let proxy: LossyProxy;
let relay: RelayProcess;
let receiver: Program;
let receiverPort: number;

/** The environment of all parts of the example. */
const environment = () => ({
  REDIS_URL: shared.server.url,
  WEBHOOK_SECRET: TEST_SECRET,
  DB_DSN: `mysql:host=127.0.0.1;port=${mariadb.port};dbname=shop;charset=utf8mb4`,
  DB_USER: 'shop',
  DB_PASSWORD: 'a password',
});

async function setUpDatabase(): Promise<void> {
  await mariadb.query(
    "CREATE DATABASE shop; CREATE USER shop@'127.0.0.1' IDENTIFIED BY 'a password'; " +
      "GRANT ALL ON shop.* TO shop@'127.0.0.1'",
  );
  await mariadb.query(readFileSync(join(FOLDER, 'schema.sql'), 'utf8'), 'shop');
}

const receiverUrl = () => `http://127.0.0.1:${receiverPort}`;

async function startReceiver(): Promise<void> {
  const secrets = { WEBHOOK_SECRET: `${RETIRED_SECRET} ${TEST_SECRET}` };
  receiver = startProgram(['php', '-S', `127.0.0.1:${receiverPort}`, 'receiver.php'], {
    cwd: FOLDER,
    env: { ...environment(), ...secrets },
  });
  await eventually('the receiver', () => fetch(receiverUrl()).catch(() => null));
}

beforeAll(async () => {
  if (!RUNS_HERE) return;
  mariadb = await MariaDb.start();
  await setUpDatabase();
  receiverPort = await freePort();
  await startReceiver();
  proxy = await LossyProxy.start(receiverUrl());
  const file = parse(readFileSync(join(FOLDER, 'relay.yaml'), 'utf8'));
  relay = await RelayProcess.start(file, { ...environment(), RECEIVER_URL: proxy.url });
});

afterAll(async () => {
  for (const part of [relay, proxy, receiver, mariadb]) await part?.[Symbol.asyncDispose]();
});

beforeEach(() => {
  if (RUNS_HERE) proxy.passOn = async () => true;
});

const php = (...words: readonly string[]) =>
  succeed(['php', ...words], { cwd: FOLDER, env: environment() });
const placeOrder = (id: string, seconds: number) => php('place-order.php', id, String(seconds));
const payOrder = (id: string) => php('pay-order.php', id);

const shop = async (sql: string) => (await mariadb.query(sql, 'shop')).trim();
const statusOf = (id: string) => shop(`SELECT status FROM orders WHERE id = '${id}'`);
const isCancelled = (id: string) => async () => (await statusOf(id)) === 'cancelled';
const timesInInbox = (webhookId: string) =>
  shop(`SELECT COUNT(*) FROM inbox WHERE webhook_id = '${webhookId}'`);

/** The receiver's answers to the webhooks for this order. */
const answersFor = (id: string) =>
  proxy.passed.filter(({ body }) => JSON.parse(body).data.params.id === id);

/** Waits for this number of answers: the row changes before its answer is received. */
const answered = (id: string, count: number) =>
  eventually(`${count} answers for ${id}`, () =>
    answersFor(id).length >= count ? answersFor(id) : null,
  );

const webhookFor = (id: string, given: Parameters<typeof signed>[0] = {}): SignedWebhook =>
  signed({ ...given, body: aBody(`order:${id}:unpaid`, { id }) });

describe.skipIf(!RUNS_HERE)('an order', () => {
  it('is cancelled once, ten seconds after it was placed', async () => {
    await placeOrder('ten', 10);
    expect(await statusOf('ten')).toBe('unpaid');
    await eventually('the cancellation', isCancelled('ten'));
    const lifeMs = 'TIMESTAMPDIFF(MICROSECOND, placed_at, cancelled_at) DIV 1000';
    const tookMs = Number(await shop(`SELECT ${lifeMs} FROM orders WHERE id = 'ten'`));
    expect(tookMs).toBeGreaterThanOrEqual(10_000);
    expect(tookMs).toBeLessThan(10_000 + LATE_MS_MAX);
    const [answer, ...more] = await answered('ten', 1);
    expect(answer?.status).toBe(204);
    expect(more).toEqual([]);
    expect(await timesInInbox(answer?.id ?? '')).toBe('1');
    const line = await eventually('the log', () =>
      relay.logs('attempt').find(({ id }) => id === answer?.id),
    );
    expect(line).toMatchObject({ outcome: 'accepted', key: 'order:ten:unpaid' });
  });

  it('is cancelled once when its webhook is received twice', async () => {
    // The relay does not receive the first answer. The effect of the webhook is undone meanwhile,
    // so that a second time would show.
    proxy.passOn = async () => {
      if (answersFor('twice').length > 1) return true;
      expect(await statusOf('twice')).toBe('cancelled');
      await shop("UPDATE orders SET status = 'unpaid', cancelled_at = NULL WHERE id = 'twice'");
      return false;
    };
    await placeOrder('twice', 1);
    const [first, second] = await answered('twice', 2);
    expect([first?.status, second?.status]).toEqual([204, 204]);
    expect(second?.id).toBe(first?.id);
    expect(await statusOf('twice')).toBe('unpaid');
    expect(await timesInInbox(first?.id ?? '')).toBe('1');
  });

  it('is cancelled once when its webhook is received five times at the same time', async () => {
    await placeOrder('rush', 600);
    const webhook = webhookFor('rush');
    const statuses = await Promise.all(
      Array.from({ length: 5 }, () => post(receiverUrl(), webhook)),
    );
    expect(statuses).toEqual([204, 204, 204, 204, 204]);
    expect(await statusOf('rush')).toBe('cancelled');
    expect(await timesInInbox(webhook.id)).toBe('1');
  });

  it('stays paid, without a webhook, when it was paid a second before', async () => {
    await placeOrder('paid', 3);
    await placeOrder('later', 4);
    await eventually('the last second', async () => {
      const leftMs = await shared.client.pttl('order:paid:unpaid');
      return leftMs <= 1_000 && leftMs > 0;
    });
    await payOrder('paid');
    // A webhook would have been received before this one.
    await eventually('the later one', isCancelled('later'));
    expect(await statusOf('paid')).toBe('paid');
    expect(answersFor('paid')).toEqual([]);
  });

  it('stays paid even if a webhook is received', async () => {
    await placeOrder('race', 2);
    // As when the payment ended between its two steps.
    await shop("UPDATE orders SET status = 'paid' WHERE id = 'race'");
    const [answer] = await answered('race', 1);
    expect(answer?.status).toBe(204);
    expect(await statusOf('race')).toBe('paid');
  });

  it('is cancelled once its receiver is back', async () => {
    await receiver.stop();
    await placeOrder('down', 1);
    await eventually('a failure', () =>
      relay.logs('attempt').some((line) => line.key === 'order:down:unpaid'),
    );
    expect(answersFor('down')).toEqual([]);
    await startReceiver();
    await eventually('the cancellation', isCancelled('down'));
    expect(await answered('down', 1)).toHaveLength(1);
  });

  it('is cancelled once the database is back: until then the receiver answers 503', async () => {
    await placeOrder('no-database', 3);
    await mariadb.stop();
    await answered('no-database', 1);
    await mariadb.restart();
    await eventually('the cancellation', isCancelled('no-database'));
    const done = await eventually('the answer', () =>
      answersFor('no-database').at(-1)?.status === 204 ? answersFor('no-database') : null,
    );
    const statuses = done.map(({ status }) => status);
    expect(statuses.slice(0, -1)).toEqual(statuses.slice(0, -1).fill(503));
    expect(statuses.length).toBeGreaterThan(1);
  });

  it.each<readonly [string, () => SignedWebhook]>([
    ['another secret', () => webhookFor('forged', { secret: `${TEST_SECRET.slice(0, -4)}AAAA` })],
    ['a signature of long ago', () => webhookFor('forged', { timestamp: secondsFromNow(-360) })],
    ['a time to come', () => webhookFor('forged', { timestamp: secondsFromNow(360) })],
    ['another body', () => ({ ...signed(), body: webhookFor('forged').body })],
    ['no signature', () => ({ ...webhookFor('forged'), headers: {} })],
  ])('is not cancelled by what is forged: %s', async (_, forge) => {
    await shop("INSERT IGNORE INTO orders (id) VALUES ('forged')");
    const webhook = forge();
    expect(await post(receiverUrl(), webhook)).toBe(401);
    expect(await statusOf('forged')).toBe('unpaid');
    expect(await timesInInbox(webhook.id)).toBe('0');
  });

  it('stays unpaid when expiry-relay send tries the way', async () => {
    await placeOrder('tried', 60);
    const send = [process.execPath, MAIN, 'send', 'order:tried:unpaid', '-c', 'relay.yaml'];
    const env = { ...environment(), RECEIVER_URL: proxy.url };
    const said = await succeed(send, { cwd: FOLDER, env });
    expect(said).toContain('accepted with 204');
    const [answer] = await answered('tried', 1);
    expect(answer?.id).toMatch(/^msg_test_/);
    expect(await statusOf('tried')).toBe('unpaid');
    expect(await timesInInbox(answer?.id ?? '')).toBe('0');
  });

  it('stays unpaid when its webhook is not understood', async () => {
    await placeOrder('odd', 60);
    for (const body of ['order=odd', '{"order":"odd"}', '{"data":{"params":{"id":7}}}', 'null']) {
      expect([body, await post(receiverUrl(), signed({ body }))]).toEqual([body, 400]);
    }
    expect(await statusOf('odd')).toBe('unpaid');
  });

  it.each([
    ['the former', RETIRED_SECRET],
    ['the present', TEST_SECRET],
  ])('is cancelled by a webhook that %s of two secrets has signed', async (which, secret) => {
    await shop(`INSERT INTO orders (id) VALUES ('${which}')`);
    expect(await post(receiverUrl(), webhookFor(which, { secret }))).toBe(204);
    expect(await statusOf(which)).toBe('cancelled');
  });

  it('is not paid any more when it is cancelled, nor placed a second time', async () => {
    await placeOrder('late', 1);
    await eventually('the cancellation', isCancelled('late'));
    const options = { cwd: FOLDER, env: environment() };
    const paid = await runProgram(['php', 'pay-order.php', 'late'], options);
    expect(paid).toMatchObject({ code: 1, stderr: expect.stringContaining('cancelled already') });
    const placed = await runProgram(['php', 'place-order.php', 'late', '1'], options);
    expect(placed.code).not.toBe(0);
    expect(await shared.client.exists('order:late:unpaid')).toBe(0);
    expect(await statusOf('late')).toBe('cancelled');
  });

  it('needs an id and a time: the scripts report a missing one', async () => {
    const options = { cwd: FOLDER, env: environment() };
    for (const words of [[], ['7'], ['7', 'soon'], ['7', '0'], ['a:b', '1']]) {
      const { code, stderr } = await runProgram(['php', 'place-order.php', ...words], options);
      expect([words, code, stderr]).toEqual([words, 2, 'usage: php place-order.php ID SECONDS\n']);
    }
    const { code } = await runProgram(['php', 'pay-order.php'], options);
    expect(code).toBe(2);
  });
});
