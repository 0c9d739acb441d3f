import { expect, it } from 'vitest';
import { judgeAnswer } from '../../src/doctor/judge-answer.js';
import { aReading, redisSettings } from '../support/doctor-readings.js';

const TLS = {
  ca: null,
  client: null,
  serverName: null,
  caFile: null,
  certFile: null,
  keyFile: null,
  extraCaProblem: null,
};

it('a server is reported with its version and the time of a reply', () => {
  expect(judgeAnswer(aReading(), redisSettings(), 'redis')).toMatchObject({
    level: 'ok',
    text: 'redis.internal:6379 responds within 0.3 ms (Redis 7.0.15, no TLS)',
  });
  const valkey = aReading({ software: 'valkey', version: '8.1.0' });
  expect(judgeAnswer(valkey, redisSettings({ tls: TLS }), 'redis').text).toContain(
    '(valkey 8.1.0, TLS)',
  );
});
