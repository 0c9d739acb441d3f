import { Webhook } from 'standardwebhooks';
import { describe, expect, it } from 'vitest';
import { sign, verify } from '../../src/delivery/sign.js';
import { Secret } from '../../src/secret.js';
import { TEST_SECRET } from '../support/domain.js';

const nowMs = Date.now();
const body = Buffer.from('{"key":"öffnen \\u0000","type":"redis.key.expired"}');
const one = new Secret(TEST_SECRET);
const other = new Secret(`whsec_${Buffer.alloc(24, 7).toString('base64')}`);

describe('sign', () => {
  it("gives the specification's own vector", () => {
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

  it('signs with every secret, one space between, so that each of two receivers verifies', () => {
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

describe('verify', () => {
  const received = (at = nowMs) => {
    const headers = sign('msg_1', body, [other, one], at);
    return {
      id: headers['webhook-id'],
      timestamp: headers['webhook-timestamp'],
      signature: headers['webhook-signature'],
    };
  };

  it('accepts what sign made, with any of the secrets', () => {
    expect(verify(received(), body, [one], nowMs)).toBe('verified');
    expect(verify(received(), body, [other], nowMs)).toBe('verified');
  });

  it('accepts what the standardwebhooks library made', () => {
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

  it('says that there is nothing to check with', () => {
    expect(verify(received(), body, [], nowMs)).toBe('no_secret');
  });
});
