/** Where a problem says by itself what to do, the doctor adds nothing that is beside the point. */
import { expect, it } from 'vitest';
import { judgeFailure } from '../../src/doctor/redis.js';
import {
  NotRedisError,
  RedisAuthError,
  RedisIsReplicaError,
  RedisNotReadyError,
  RedisPermissionError,
  RedisTlsError,
  RedisUnreachableError,
  RedisUnresponsiveError,
} from '../../src/model/errors.js';

it.each([RedisAuthError, RedisTlsError, NotRedisError, RedisIsReplicaError, RedisNotReadyError])(
  'a %o has its remedy in its own words',
  (Cause) => {
    const { text, advice } = judgeFailure(new Cause('no'), 'redis', 'redis.url');
    expect({ text, advice }).toEqual({ text: 'no', advice: null });
  },
);

it('only where no connection can be made, whether the server runs is asked', () => {
  expect(judgeFailure(new RedisUnreachableError('no'), 'state', 'state.url').advice).toBe(
    'check state.url, that the server runs, and that this machine can connect to it',
  );
  expect(judgeFailure(new RedisUnresponsiveError('no'), 'state', 'state.url').advice).toBe(
    'check state.url, and the log of the server there',
  );
});

it('a denied permission is to be granted', () => {
  expect(judgeFailure(new RedisPermissionError('no'), 'redis', 'redis.url').advice).toBe(
    'grant the permission with ACL SETUSER, then run doctor again',
  );
});
