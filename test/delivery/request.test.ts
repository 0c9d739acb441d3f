import { describe, expect, it } from 'vitest';
import { buildRequest, headersByName, joinPath, markAsTest } from '../../src/delivery/request.js';
import { VERSION } from '../../src/lib/version.js';
import { Secret } from '../../src/model/secret.js';
import { aDelivery, anEndpoint } from '../support/domain.js';

const nowMs = Date.parse('2026-11-22T06:00:10.003Z');

describe('joinPath', () => {
  it.each([
    ['http://shop/hooks', '', '/hooks'],
    ['http://shop', '', '/'],
    ['http://shop', '/a', '/a'],
    ['http://shop/hooks', '/orders/42', '/hooks/orders/42'],
    ['http://shop/hooks/', '/orders/42', '/hooks/orders/42'],
    ['http://shop/hooks?token=1', '', '/hooks?token=1'],
    ['http://shop/hooks?token=1', '/a', '/hooks/a?token=1'],
    ['http://shop/hooks?token=1', '/a?b=2', '/hooks/a?token=1&b=2'],
    ['http://shop/hooks', '/a?b=2', '/hooks/a?b=2'],
  ])('%s with %s is %s', (url, path, joined) => {
    expect(joinPath(new URL(url), path)).toBe(joined);
  });
});

describe('buildRequest', () => {
  it("sends the file's headers beside the relay's own", () => {
    const endpoint = anEndpoint({ headers: { authorization: new Secret('Bearer t') } });
    const request = buildRequest(endpoint, aDelivery(), nowMs);
    const headers = headersByName(request);
    expect(headers).toMatchObject({
      authorization: 'Bearer t',
      'content-type': 'application/json',
      'user-agent': `expiry-relay/${VERSION}`,
      'webhook-id': 'msg_1',
      'webhook-timestamp': '1795327210',
    });
    expect(headers['webhook-signature']).toMatch(/^v1,/);
    expect(request.body).toEqual(aDelivery().body);
  });

  it('signs each attempt afresh, with the same id and body', () => {
    const first = buildRequest(anEndpoint(), aDelivery(), nowMs);
    const second = buildRequest(anEndpoint(), aDelivery(), nowMs + 60_000);
    const [one, other] = [headersByName(first), headersByName(second)];
    expect(other['webhook-id']).toBe(one['webhook-id']);
    expect(second.body).toEqual(first.body);
    expect(other['webhook-signature']).not.toBe(one['webhook-signature']);
  });

  it("has the delivery's own method and content type, with any headers in the file", () => {
    const contentType = 'application/x-www-form-urlencoded';
    const request = buildRequest(anEndpoint(), aDelivery({ method: 'PUT', contentType }), nowMs);
    expect(request.method).toBe('PUT');
    expect(headersByName(request)['content-type']).toBe(contentType);
  });

  it('has the test header only for a test', () => {
    const request = buildRequest(anEndpoint(), aDelivery(), nowMs);
    expect(headersByName(request)).not.toHaveProperty('expiry-relay-test');
    expect(headersByName(markAsTest(request))).toEqual({
      ...headersByName(request),
      'expiry-relay-test': 'true',
    });
  });
});
