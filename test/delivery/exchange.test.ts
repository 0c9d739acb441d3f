import { expect, it } from 'vitest';
import { Exchange } from '../../src/delivery/exchange.js';

it('an aborted exchange ends, even if it never gets a connection', async () => {
  const exchange = new Exchange();
  const error = new Error('too late');
  exchange.abort(error);
  expect(await exchange.ended).toEqual({ kind: 'failed', error, answer: null, hasBegun: false });
});

it('an aborted exchange is not sent on a connection that it gets later', () => {
  const exchange = new Exchange();
  const error = new Error('too late');
  exchange.abort(error);
  const reasons: unknown[] = [];
  exchange.onRequestStart({
    aborted: false,
    paused: false,
    reason: null,
    abort: (reason) => void reasons.push(reason),
    pause: () => undefined,
    resume: () => undefined,
  });
  expect(reasons).toEqual([error]);
});
