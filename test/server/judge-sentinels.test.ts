import { expect, it } from 'vitest';
import { RedisUnreachableError } from '../../src/model/errors.js';
import type { Answer } from '../../src/redis/sentinels/vote.js';
import { judgeSentinels } from '../../src/server/judge-sentinels.js';

function judged(...answers: Answer[]) {
  const voters = answers.map((answer, n) => ({ address: `s${n}:1`, isConfigured: true, answer }));
  const { level, text } = judgeSentinels(voters, 'mymaster', 'redis.sentinel');
  return { level, text };
}

function names(host: string, id: string, others = 'abc'): Answer {
  const known = [...others.replace(id, '')].map((other) => ({ id: other, host: other, port: 1 }));
  return { kind: 'named', id, primary: { host, port: 6379 }, others: known, quorum: 2 };
}

const DOWN: Answer = { kind: 'failed', error: new RedisUnreachableError('s2 is down') };

it('all sentinels that agree are reported with the quorum', () => {
  expect(judged(names('one', 'a'), names('one', 'b'), names('one', 'c'))).toEqual({
    level: 'ok',
    text: '3 of 3 name one:6379 the primary of mymaster, quorum 2',
  });
});

it('a sentinel that is down, and one that disagrees, are warnings', () => {
  expect(judged(names('one', 'a'), names('one', 'b'), DOWN)).toEqual({
    level: 'warning',
    text: '2 of 3 name one:6379 the primary of mymaster, quorum 2; s2 is down',
  });
  expect(judged(names('one', 'a'), names('one', 'b'), names('two', 'c'))).toEqual({
    level: 'warning',
    text:
      '2 of 3 name one:6379 the primary of mymaster, quorum 2; votes: one:6379 by s0:1, s1:1; two:6379 by ' +
      's2:1',
  });
});

it('no majority is a problem', () => {
  expect(judged(names('one', 'a'), DOWN, DOWN).level).toBe('problem');
});

it('fewer than three sentinels are a note', () => {
  expect(judged(names('one', 'a', 'a'))).toMatchObject({ level: 'note' });
});
