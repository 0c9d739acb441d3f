// cspell:ignore straße
/** Every receiver of examples/receivers, with valid and invalid webhooks. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { freePort } from '../../scripts/lib/free-port.mjs';
import { tempFolder } from '../support/cli.js';
import { TEST_SECRET } from '../support/domain.js';
import { eventually } from '../support/eventually.js';
import { missing, type Program, startProgram, succeed } from '../support/examples/program.js';
import { RECEIVERS, RECEIVERS_FOLDER, type Receiver } from '../support/examples/receivers.js';
import {
  aBody,
  aCloudEvent,
  hangUpAmid,
  macOf,
  post,
  type SignedWebhook,
  secondsFromNow,
  signed,
} from '../support/examples/signed.js';
import { RelayProcess } from '../support/relay-process.js';
import { sharedRedis } from '../support/shared-redis.js';

const OTHER_SECRET = 'whsec_YW5vdGhlciBzZWNyZXQgdGhhdCBub2JvZHkga25vd3Mh';
/** Of quotation marks, each of which takes two bytes in JSON. */
const KEY_BYTES_MAX = 1024 * 1024;
/** A receiver allows five minutes. */
const SIX_MINUTES_S = 360;

const shared = sharedRedis();
const ports = new Map<string, string>();
let relay: RelayProcess;

beforeAll(async () => {
  for (const { name } of RECEIVERS) ports.set(name, String(await freePort()));
  const endpoints = [...ports].map(([name, port]) => [
    name,
    { url: `http://127.0.0.1:${port}/hooks`, secrets: [TEST_SECRET] },
  ]);
  relay = await RelayProcess.start({
    redis: { url: shared.server.url },
    endpoints: Object.fromEntries(endpoints),
    routes: [...ports.keys()].map((name) => ({ name, match: `${name}:*`, to: name })),
  });
});

afterAll(() => relay?.[Symbol.asyncDispose]());

function without(header: string): SignedWebhook {
  const { headers, ...rest } = signed();
  const kept = Object.entries(headers).filter(([name]) => name !== header);
  return { ...rest, headers: Object.fromEntries(kept) };
}

function withSignature(make: (right: string) => string): SignedWebhook {
  const webhook = signed();
  const right = webhook.headers['webhook-signature'] ?? '';
  return { ...webhook, headers: { ...webhook.headers, 'webhook-signature': make(right) } };
}

const REFUSED: Readonly<Record<string, () => SignedWebhook>> = {
  'a body that was changed': () => ({ ...signed(), body: aBody('order:43:unpaid') }),
  'no body': () => ({ ...signed(), body: '' }),
  'the same JSON, written otherwise': () => {
    const webhook = signed();
    return { ...webhook, body: JSON.stringify(JSON.parse(webhook.body), null, 1) };
  },
  'another secret': () => signed({ secret: OTHER_SECRET }),
  'an old timestamp, well signed': () => signed({ timestamp: secondsFromNow(-SIX_MINUTES_S) }),
  'a future timestamp, well signed': () => signed({ timestamp: secondsFromNow(SIX_MINUTES_S) }),
  'a timestamp that is no number, well signed': () => signed({ timestamp: 'now' }),
  'an empty timestamp, well signed': () => signed({ timestamp: '' }),
  'an old signature under a new timestamp': () => {
    const { headers, ...rest } = signed({ timestamp: secondsFromNow(-SIX_MINUTES_S) });
    return { ...rest, headers: { ...headers, 'webhook-timestamp': secondsFromNow(0) } };
  },
  'an empty webhook-id, well signed': () => signed({ id: '' }),
  'no webhook-id': () => without('webhook-id'),
  'no webhook-timestamp': () => without('webhook-timestamp'),
  'no webhook-signature': () => without('webhook-signature'),
  'an empty signature': () => withSignature(() => ''),
  'a version without a signature': () => withSignature(() => 'v1,'),
  'a signature without its version': () => withSignature((right) => right.replace('v1,', '')),
  'a signature of another version': () => withSignature((right) => right.replace('v1', 'v2')),
  'a signature that lacks its end': () => withSignature((right) => right.slice(0, -4)),
};

const FORM = 'application/x-www-form-urlencoded';

/** Well signed, as of routes with a body of their own. */
const NOT_UNDERSTOOD: Readonly<Record<string, Parameters<typeof signed>[0]>> = {
  'a form': { body: 'order=42&reason=not+paid+in+time', contentType: FORM },
  'JSON without data': { body: '{"order":"42"}' },
  'JSON whose data has no key': { body: '{"data":{"order":"42"}}' },
  'JSON whose data is a text': { body: '{"data":"42"}' },
  'JSON that is no object': { body: 'null' },
  'JSON that is a list': { body: '["42"]' },
  'a plain text': { body: 'order 42', contentType: 'text/plain' },
  'an empty body': { body: '' },
};

/** A receiver, and the folder for its output. */
async function startReceiver({ start }: Receiver, port: string, folder: string, secret: string) {
  const env = { PORT: port, WEBHOOK_SECRET: secret, TMPDIR: folder };
  return startProgram(start(port, folder), { cwd: RECEIVERS_FOLDER, env });
}

/** The status as soon as the receiver answers; null if it ends before. */
async function firstAnswer(program: Program, url: string, webhook: SignedWebhook) {
  const { status } = await eventually('the first answer', async () => {
    if (!program.running) return { status: null };
    return post(url, webhook).then(
      (answered) => ({ status: answered }),
      () => null,
    );
  });
  return status;
}

const byName = RECEIVERS.map((receiver) => [receiver.name, receiver] as const);

describe.each(byName)('the receiver %s', (name, receiver) => {
  const { build, runtime } = receiver;
  let folder: Awaited<ReturnType<typeof tempFolder>>;
  let program: Program;
  let url: string;

  beforeAll(async () => {
    if (missing.has(runtime)) return;
    folder = await tempFolder({});
    if (build) {
      const env = { GOCACHE: `${folder.path}/cache`, GOPATH: folder.path };
      await succeed(build(folder.path), { cwd: RECEIVERS_FOLDER, env });
    }
    url = `http://127.0.0.1:${ports.get(name)}/hooks`;
    program = await startReceiver(receiver, ports.get(name) ?? '', folder.path, TEST_SECRET);
    const status = await firstAnswer(program, url, without('webhook-id'));
    expect(status, `${program.stdout}${program.stderr}`).toBe(401);
  });

  afterAll(async () => {
    await program?.[Symbol.asyncDispose]();
    await folder?.[Symbol.asyncDispose]();
  });

  /** The output about this webhook only. */
  async function said(send: () => Promise<number>): Promise<string> {
    const before = program.stdout.length;
    expect(await send()).toBe(204);
    await eventually('a line', () => program.stdout.slice(before).endsWith('\n'));
    return program.stdout.slice(before);
  }

  it.skipIf(missing.has(runtime))('takes what the relay sends, once', async () => {
    const key = `${name}:straße "7", 日本 😀\n\\`;
    await shared.client.set(key, '', 'PX', 10);
    const { id, outcome } = await eventually('the attempt', () =>
      relay.logs('attempt').find(({ endpoint }) => endpoint === name),
    );
    expect(outcome).toBe('accepted');
    await eventually('a line', () => program.stdout.endsWith('\n'));
    expect(program.stdout).toBe(`${id} ${JSON.stringify(key)}\n`);
  });

  it.skipIf(missing.has(runtime))('does nothing when the same one comes again', async () => {
    const webhook = signed();
    expect(await said(() => post(url, webhook))).toBe(`${webhook.id} "order:42:unpaid"\n`);
    const again = signed({ id: webhook.id, timestamp: secondsFromNow(1) });
    expect(await said(() => post(url, again))).toBe(`${webhook.id} repeat\n`);
  });

  it.skipIf(missing.has(runtime))('takes any of several signatures', async () => {
    const wrong = signed({ secret: OTHER_SECRET }).headers['webhook-signature'];
    const webhook = withSignature((right) => `v1a,AAAA ${wrong} ${right}`);
    expect(await said(() => post(url, webhook))).toBe(`${webhook.id} "order:42:unpaid"\n`);
  });

  it.skipIf(missing.has(runtime))('takes CloudEvents as well', async () => {
    const contentType = 'application/cloudevents+json; charset=utf-8';
    const webhook = signed({ body: aCloudEvent(), contentType });
    expect(await said(() => post(url, webhook))).toBe(`${webhook.id} "order:42:unpaid"\n`);
  });

  it.skipIf(missing.has(runtime)).each(Object.entries(NOT_UNDERSTOOD))(
    'reports that it does not understand %s',
    async (_, given) => {
      const odd = signed(given);
      expect(await post(url, odd)).toBe(400);
      await eventually('a line', () => program.stderr.includes(odd.id));
      // It has not kept the id: once it understands, it takes the webhook.
      const fixed = signed({ id: odd.id });
      expect(await said(() => post(url, fixed))).toBe(`${odd.id} "order:42:unpaid"\n`);
    },
  );

  it.skipIf(missing.has(runtime))('survives a sender that hangs up', async () => {
    await hangUpAmid(url, signed());
    const good = signed();
    expect(await said(() => post(url, good))).toBe(`${good.id} "order:42:unpaid"\n`);
  });

  it.skipIf(missing.has(runtime))('takes the longest key that the relay sends', async () => {
    const key = '"'.repeat(KEY_BYTES_MAX);
    const webhook = signed({ body: aBody(key) });
    const line = await said(() => post(url, webhook));
    // Not toBe, which would print a long difference completely.
    expect(line === `${webhook.id} ${JSON.stringify(key)}\n`).toBe(true);
  });

  it.skipIf(missing.has(runtime)).each(Object.keys(REFUSED))('refuses %s', async (what) => {
    const refused = REFUSED[what]?.();
    expect(refused && (await post(url, refused))).toBe(401);
    // If it had accepted the other, the output would have appeared before.
    const good = signed();
    expect(await said(() => post(url, good))).toBe(`${good.id} "order:42:unpaid"\n`);
  });

  it.skipIf(missing.has(runtime))('takes nothing at all without a secret', async () => {
    const port = String(await freePort());
    await using bare = await startReceiver(receiver, port, folder.path, 'whsec_');
    const { id, body, headers } = signed();
    const timestamp = headers['webhook-timestamp'] ?? '';
    const forged = { 'webhook-signature': `v1,${macOf(id, timestamp, body, 'whsec_')}` };
    const webhook = { id, body, headers: { ...headers, ...forged } };
    const status = await firstAnswer(bare, `http://127.0.0.1:${port}/hooks`, webhook);
    expect([null, 500]).toContain(status);
    expect(bare.stdout).toBe('');
  });
});
