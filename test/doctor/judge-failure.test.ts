/** If an error already names the action, the doctor adds no other advice. */
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

it.each([
  new RedisAuthError('no'),
  new RedisTlsError('no'),
  new NotRedisError('no'),
  new RedisIsReplicaError('no', false),
  new RedisNotReadyError('no'),
])('a %o has its remedy in its own words', (error) => {
  const { text, advice } = judgeFailure(error, 'redis', 'redis.url');
  expect({ text, advice }).toEqual({ text: 'no', advice: null });
});

it('the advice to check that the server runs is given only if no connection can be made', () => {
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
