import { expect, it } from 'vitest';
import { judgeStateThroughput, judgeThroughput } from '../../src/doctor/throughput.js';

const endpoints = (...each: (readonly [name: string, concurrency: number])[]) =>
  each.map(([name, concurrency]) => ({ name, concurrency }));

it('the watched Redis allows a batch of nudges each round trip', () => {
  expect(judgeThroughput(300)).toMatchObject({
    level: 'note',
    subject: 'throughput',
    text: 'at most about 1,700 webhooks/s with a round trip of 300 ms',
    advice: 'if that is not enough, run the relay closer to this Redis',
  });
});

it('the state Redis allows each endpoint its concurrency in two round trips', () => {
  const text =
    'at most about 55 webhooks/s with a round trip of 300 ms; by endpoint: audit 1.7/s ' +
    '(concurrency 1), shop 53/s (concurrency 32)';
  const far = judgeStateThroughput(300, endpoints(['shop', 32], ['audit', 1]), 'state throughput');
  expect(far).toMatchObject({ level: 'note', subject: 'state throughput', text });
  expect(far.advice).toContain('raise concurrency');
});

it('all endpoints together get at most the storable rate, and the smallest ones are named', () => {
  const many = endpoints(['a', 400], ['b', 300], ['c', 200], ['d', 100]);
  expect(judgeStateThroughput(300, many, 'throughput').text).toBe(
    'at most about 560 webhooks/s with a round trip of 300 ms; by endpoint: d 170/s (concurrency ' +
      '100), c 330/s (concurrency 200), b 500/s (concurrency 300), …',
  );
});

it('a Redis nearby is fine', () => {
  expect(judgeThroughput(0.3)).toMatchObject({ level: 'ok', advice: null });
  expect(judgeStateThroughput(0.3, endpoints(['shop', 32]), 'throughput')).toMatchObject({
    level: 'ok',
    text: 'not limited by the round trip of 0.3 ms',
  });
});
