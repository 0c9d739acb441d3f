// cspell:ignore öffnen
import { createPublicKey, verify as verifyWith } from 'node:crypto';
import { Webhook } from 'standardwebhooks';
import { describe, expect, it } from 'vitest';
import { Secret } from '../../src/model/secret.js';
import { newKeyPair } from '../../src/signing/key-pair.js';
import { publicKeysOf, sign, verify } from '../../src/signing/sign.js';
import { TEST_SECRET } from '../support/domain.js';

const nowMs = Date.now();
const body = Buffer.from('{"key":"öffnen \\u0000","type":"redis.key.expired"}');
const one = new Secret(TEST_SECRET);
const other = new Secret(`whsec_${Buffer.alloc(24, 7).toString('base64')}`);

describe('sign', () => {
  it("matches the specification's test vector", () => {
    const headers = sign(
      'msg_p5jXN8AQM9LWM0D4loKWxJek',
      Buffer.from('{"test": 2432232314}'),
      [new Secret('whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw')],
      1614265330_999,
    );
    expect(headers).toEqual({
      'webhook-id': 'msg_p5jXN8AQM9LWM0D4loKWxJek',
      'webhook-timestamp': '1614265330',
      'webhook-signature': 'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=',
    });
  });

  it('is accepted by the standardwebhooks library', () => {
    const headers = { ...sign('msg_1', body, [one], nowMs) } as Record<string, string>;
    expect(() => new Webhook(TEST_SECRET).verify(body.toString(), headers)).not.toThrow();
  });

  it('signs with every secret, separated by a space, so that each of two receivers verifies', () => {
    const headers = { ...sign('msg_1', body, [other, one], nowMs) } as Record<string, string>;
    expect(headers['webhook-signature']).toMatch(/^v1,\S+ v1,\S+$/);
    for (const secret of [one, other]) {
      const webhook = new Webhook(secret.reveal());
      expect(() => webhook.verify(body.toString(), headers)).not.toThrow();
    }
  });

  it('sends no signature header at all when there is no secret', () => {
    expect(Object.keys(sign('msg_1', body, [], nowMs))).toEqual([
      'webhook-id',
      'webhook-timestamp',
    ]);
  });
});

/** A secret of 64 bytes and its public key, from another implementation. */
const PRIVATE =
  'whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg==';
const PUBLIC = 'whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=';
const asymmetric = new Secret(PRIVATE);

/** Verifies only with Node's crypto, from the public key as a string. */
function isSignedByPair(headers: Record<string, string>, publicKey: string, signature: string) {
  const x = Buffer.from(publicKey.slice('whpk_'.length), 'base64').toString('base64url');
  const key = createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x }, format: 'jwk' });
  const signed = `${headers['webhook-id']}.${headers['webhook-timestamp']}.${body}`;
  const base64 = signature.slice('v1a,'.length);
  return verifyWith(null, Buffer.from(signed), key, Buffer.from(base64, 'base64'));
}

describe('an asymmetric secret', () => {
  it("matches the reference library's test vector", () => {
    const seed = new Secret('whsk_VEVTVFNJR05JTkdLRVlET05PVFVTRVRISVNGT1JBTlk=');
    const headers = sign(
      'msg_p5jXN8AQM9LWM0D4loKWxJek',
      Buffer.from('{"test": 2432232314}'),
      [seed],
      1614265330_000,
    );
    expect(headers['webhook-signature']).toBe(
      'v1a,tQ9V2XOqn7jL/DQenEFpqIugdBVtiMmER5mhSkXBNwM0mkATuDe6KYYUuxqtaiHeYGb7KaaBRdM5WqyeFiL8Ag==',
    );
  });

  it('signs after every v1, at any place in the list, and receivers with only v1 still verify', () => {
    const secrets = [asymmetric, other, new Secret(newKeyPair().privateKey), one];
    const headers = { ...sign('msg_1', body, secrets, nowMs) } as Record<string, string>;
    const signatures = headers['webhook-signature']?.split(' ') ?? [];
    expect(signatures.map((text) => text.split(',')[0])).toEqual(['v1', 'v1', 'v1a', 'v1a']);
    for (const secret of [one, other]) {
      const webhook = new Webhook(secret.reveal());
      expect(() => webhook.verify(body.toString(), headers)).not.toThrow();
    }
    expect(isSignedByPair(headers, PUBLIC, signatures[2] ?? '')).toBe(true);
    expect(isSignedByPair(headers, PUBLIC, signatures[3] ?? '')).toBe(false);
  });

  it('has a public key, which verifies', () => {
    expect(publicKeysOf([one, asymmetric])).toEqual([PUBLIC]);
    const headers = sign('msg_1', body, [one, asymmetric], nowMs);
    const received = {
      id: headers['webhook-id'],
      timestamp: headers['webhook-timestamp'],
      signature: headers['webhook-signature'],
    };
    const holding = (secret: string) => verify(received, body, [new Secret(secret)], nowMs);
    expect(holding(PUBLIC)).toBe('verified');
    expect(holding(PRIVATE)).toBe('verified');
    expect(holding(newKeyPair().publicKey)).toBe('wrong_signature');
    const changed = { ...received, id: 'msg_2' };
    expect(verify(changed, body, [new Secret(PUBLIC)], nowMs)).toBe('wrong_signature');
    const broken = { ...received, signature: 'v1a, v1a,AAAA v1a' };
    expect(verify(broken, body, [new Secret(PUBLIC)], nowMs)).toBe('wrong_signature');
  });
});

describe('verify', () => {
  const received = (at = nowMs) => {
    const headers = sign('msg_1', body, [other, one], at);
    return {
      id: headers['webhook-id'],
      timestamp: headers['webhook-timestamp'],
      signature: headers['webhook-signature'],
    };
  };

  it('accepts signatures of sign, with any of the secrets', () => {
    expect(verify(received(), body, [one], nowMs)).toBe('verified');
    expect(verify(received(), body, [other], nowMs)).toBe('verified');
  });

  it('accepts signatures of the standardwebhooks library', () => {
    const at = new Date(nowMs);
    const signature = new Webhook(TEST_SECRET).sign('msg_9', at, body.toString());
    const timestamp = String(Math.floor(nowMs / 1000));
    expect(verify({ id: 'msg_9', timestamp, signature }, body, [one], nowMs)).toBe('verified');
  });

  it('refuses a changed body, id or timestamp', () => {
    const changed = Buffer.concat([body, Buffer.from(' ')]);
    expect(verify(received(), changed, [one], nowMs)).toBe('wrong_signature');
    expect(verify({ ...received(), id: 'msg_2' }, body, [one], nowMs)).toBe('wrong_signature');
    const timestamp = String(Math.floor(nowMs / 1000) - 1);
    expect(verify({ ...received(), timestamp }, body, [one], nowMs)).toBe('wrong_signature');
  });

  it('refuses a timestamp more than five minutes away, or none at all', () => {
    expect(verify(received(nowMs - 302_000), body, [one], nowMs)).toBe(
      'timestamp_out_of_tolerance',
    );
    expect(verify({ ...received(), timestamp: 'x' }, body, [one], nowMs)).toBe(
      'timestamp_out_of_tolerance',
    );
    expect(verify({ ...received(), signature: undefined }, body, [one], nowMs)).toBe(
      'missing_headers',
    );
  });

  it('reports missing secrets', () => {
    expect(verify(received(), body, [], nowMs)).toBe('no_secret');
  });
});
