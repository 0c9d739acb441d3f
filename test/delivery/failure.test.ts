import { describe, expect, it } from 'vitest';
import { preventionOf } from '../../src/delivery/failure.js';
import { preventionAdvice } from '../../src/lib/exhaustion.js';

const failure = (code: string, message = code) => Object.assign(new Error(message), { code });

describe('a failure of the relay itself', () => {
  it.each([
    'EMFILE',
    'ENFILE',
    'ENOBUFS',
    'ENOMEM',
    'EAGAIN',
    'EADDRNOTAVAIL',
    'EAI_MEMORY',
    'ERR_WORKER_OUT_OF_MEMORY',
  ])('is %s, with advice', (code) => {
    const prevented = preventionOf(failure(code));
    expect(prevented).toEqual({ kind: 'prevented', code, detail: code });
    expect(prevented && preventionAdvice(prevented)).toMatch(/lower concurrency|more memory/);
  });

  it.each([
    'ECONNREFUSED',
    'ECONNRESET',
    'ETIMEDOUT',
    'ENOTFOUND',
    'EAI_AGAIN',
    'EHOSTUNREACH',
    '',
  ])('is not %s', (code) => {
    expect(preventionOf(failure(code))).toBeNull();
  });

  it('is the reason if it affected one of several addresses', () => {
    const mixed = new AggregateError([failure('ECONNREFUSED'), failure('EMFILE')]);
    expect(preventionOf(mixed)).toMatchObject({ code: 'EMFILE' });
  });

  it('is a missing local address only if that affects all of them', () => {
    const refused = failure('ECONNREFUSED');
    const none = failure('EADDRNOTAVAIL');
    // As for ::1 where IPv6 is off.
    expect(preventionOf(new AggregateError([none, refused]))).toBeNull();
    expect(preventionOf(new AggregateError([none, none]))).toMatchObject({ code: none.code });
  });
});
