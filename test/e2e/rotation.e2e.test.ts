/** Rotation of secrets under load, with receivers that have the old one, the new one or both. */
import { createPublicKey, verify } from 'node:crypto';
import { Webhook } from 'standardwebhooks';
import { describe, expect, it } from 'vitest';
import { type RunningRedis, startRedis } from '../../scripts/lib/redis-server.mjs';
import { newKeyPair } from '../../src/signing/key-pair.js';
import { eventually } from '../support/eventually.js';
import { MountedSecret } from '../support/mounted-secret.js';
import { RelayProcess } from '../support/relay-process.js';
import { type ReceivedRequest, type Respond, TestReceiver } from '../support/test-receiver.js';
import { withRedis } from '../support/with-redis.js';

const OLD = `whsec_${Buffer.alloc(32, 'old').toString('base64')}`;
const NEW = `whsec_${Buffer.alloc(24, 'new').toString('base64')}`;
const UNKNOWN = `whsec_${Buffer.alloc(24, 'unknown').toString('base64')}`;

const expire = (redis: RunningRedis, key: string) =>
  withRedis(redis, (client) => client.set(key, '', 'PX', 10));

function verifiesWith(secret: string, { raw, headers }: ReceivedRequest): boolean {
  try {
    new Webhook(secret).verify(raw.toString(), { ...headers });
    return true;
  } catch {
    return false;
  }
}

/** A receiver that answers 401 to webhooks that none of these secrets verifies. */
function holding(...secrets: readonly string[]): Respond {
  return (request, response) => {
    const isKnown = secrets.some((secret) => verifiesWith(secret, request));
    response.writeHead(isKnown ? 204 : 401).end();
  };
}

const fileOf = (redis: RunningRedis, endpoints: Record<string, object>) => ({
  redis: { url: redis.url },
  endpoints,
  routes: [{ name: 'all', match: '*', to: Object.keys(endpoints) }],
});

/** Lets keys expire one after the other until `isEnough`, and returns them. */
async function expireUntil(
  redis: RunningRedis,
  prefix: string,
  isEnough: () => boolean,
): Promise<string[]> {
  const keys: string[] = [];
  await eventually('enough webhooks', async () => {
    const key = `${prefix}:${keys.length}`;
    keys.push(key);
    await expire(redis, key);
    return isEnough();
  });
  return keys;
}

const statusesOf = (relay: RelayProcess) => relay.logs('attempt').map(({ status }) => status);

describe.concurrent('two secrets of an endpoint', () => {
  it('are verified by receivers that have the old one, the new one, or both, and by no other', async () => {
    await using redis = await startRedis();
    await using old = await TestReceiver.start(holding(OLD));
    await using young = await TestReceiver.start(holding(NEW));
    await using both = await TestReceiver.start(holding(NEW, OLD));
    await using other = await TestReceiver.start(holding(UNKNOWN));
    const at = ({ url }: TestReceiver) => ({ url, secrets: [OLD, NEW], retry: { schedule: [] } });
    const endpoints = { old: at(old), young: at(young), both: at(both), other: at(other) };
    await using relay = await RelayProcess.start(fileOf(redis, endpoints));
    await expire(redis, 'order:1');
    await eventually('four attempts', () => relay.logs('attempt').length === 4);
    const byEndpoint = relay.logs('attempt').map(({ endpoint, status }) => [endpoint, status]);
    expect(Object.fromEntries(byEndpoint)).toEqual({ old: 204, young: 204, both: 204, other: 401 });
  });
});

describe.concurrent('a secret file that is swapped under load', () => {
  it('loses no webhook: a receiver with the old and the new secret rejects none', async () => {
    await using redis = await startRedis();
    await using receiver = await TestReceiver.start(holding(OLD, NEW));
    await using mounted = await MountedSecret.mount({ key: `${OLD}\n` });
    const shop = { url: receiver.url, secrets: [{ file: mounted.file('key') }] };
    await using relay = await RelayProcess.start(fileOf(redis, { shop }));
    const signedBy = (secret: string) =>
      receiver.requests.filter((request) => verifiesWith(secret, request)).length;
    const before = await expireUntil(redis, 'before', () => receiver.requests.length > 20);
    expect(signedBy(OLD)).toBe(receiver.requests.length);
    await mounted.swap({ key: `${NEW}\n` });
    const during = await expireUntil(redis, 'during', () => signedBy(NEW) > 20);
    const keys = [...before, ...during];
    await eventually('all', () => statusesOf(relay).length === keys.length);
    expect(receiver.keys.toSorted()).toEqual(keys.toSorted());
    expect(new Set(statusesOf(relay))).toEqual(new Set([204]));
    const [last] = receiver.requests.slice(-1);
    expect(last !== undefined && verifiesWith(OLD, last)).toBe(false);
  });
});

describe.concurrent('an asymmetric secret', () => {
  it('adds its signature after the other one, and its public key is printed', async () => {
    await using redis = await startRedis();
    const { privateKey, publicKey } = newKeyPair();
    await using receiver = await TestReceiver.start(holding(OLD));
    await using mounted = await MountedSecret.mount({ key: privateKey });
    const shop = { url: receiver.url, secrets: [{ file: mounted.file('key') }, OLD] };
    await using relay = await RelayProcess.start(fileOf(redis, { shop }));
    expect(await relay.logged('public_keys')).toMatchObject({
      endpoint: 'shop',
      public_keys: [publicKey],
    });
    await expire(redis, 'order:1');
    const { headers, raw } = await eventually('the webhook', () => receiver.requests[0]);
    const signatures = (headers['webhook-signature'] ?? '').split(' ');
    expect(signatures.map((text) => text.split(',')[0])).toEqual(['v1', 'v1a']);
    const x = Buffer.from(publicKey.slice('whpk_'.length), 'base64').toString('base64url');
    const key = createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x }, format: 'jwk' });
    const signed = `${headers['webhook-id']}.${headers['webhook-timestamp']}.${raw}`;
    const signature = Buffer.from((signatures[1] ?? '').slice('v1a,'.length), 'base64');
    expect(verify(null, Buffer.from(signed), key, signature)).toBe(true);
    await eventually('the attempt', () => relay.logs('attempt').length === 1);
    expect(statusesOf(relay)).toEqual([204]);

    const next = newKeyPair();
    await mounted.swap({ key: next.privateKey });
    const { public_keys } = await relay.logged('credentials_reloaded');
    expect(public_keys).toEqual([next.publicKey]);
    for (const held of [privateKey, next.privateKey, OLD]) {
      expect(relay.stdout + relay.stderr).not.toContain(held.slice('whsk_'.length));
    }
  });
});
