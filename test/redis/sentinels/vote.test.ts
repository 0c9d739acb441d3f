import { describe, expect, it } from 'vitest';
import {
  NoPrimaryError,
  RedisAuthError,
  RedisUnreachableError,
  UnknownPrimaryError,
} from '../../../src/model/errors.js';
import { type Answer, count, problemOf, type Voter } from '../../../src/redis/sentinels/vote.js';

const OLD = { host: '10.0.0.1', port: 6379 };
const NEW = { host: '10.0.0.2', port: 6379 };
const PENDING: Answer = { kind: 'pending' };
const DOWN: Answer = { kind: 'failed', error: new RedisUnreachableError('s is down') };

/** A sentinel that names this primary and knows these others. */
function names(primary: typeof OLD, id: string, others = 'abc'): Answer {
  const known = [...others.replace(id, '')].map((other) => ({ id: other, host: other, port: 1 }));
  return { kind: 'named', id, primary, others: known, quorum: 2 };
}

const voters = (...answers: Answer[]): Voter[] =>
  answers.map((answer, n) => ({ address: `s${n + 1}:26379`, isConfigured: true, answer }));

const primaryOf = (all: readonly Voter[]) => count(all).primary;

describe('the primary', () => {
  it('is the one that a majority names', () => {
    expect(primaryOf(voters(names(NEW, 'a'), names(OLD, 'b'), names(NEW, 'c')))).toEqual(NEW);
    expect(primaryOf(voters(names(NEW, 'a'), names(OLD, 'b'), names(OLD, 'c')))).toEqual(OLD);
  });

  it('is unknown while a minority responds, though it agrees: the others may know better', () => {
    expect(primaryOf(voters(names(OLD, 'a'), DOWN, DOWN))).toBeNull();
    expect(primaryOf(voters(names(OLD, 'a'), names(OLD, 'b'), DOWN))).toEqual(OLD);
  });

  it('is unknown when a sentinel alone is configured and reports others that do not respond', () => {
    expect(primaryOf(voters(names(OLD, 'a')))).toBeNull();
    expect(primaryOf(voters(names(OLD, 'a', 'a')))).toEqual(OLD);
  });

  it('is known from reported sentinels as well as configured ones', () => {
    const reported = { address: 'b:1', isConfigured: false, answer: names(OLD, 'b') };
    expect(primaryOf([...voters(names(OLD, 'a')), reported])).toEqual(OLD);
  });

  it('is not named twice by one sentinel with two addresses', () => {
    const twice = voters(names(OLD, 'a'), names(OLD, 'a'), DOWN);
    expect(primaryOf(twice)).toBeNull();
    expect(count(twice)).toMatchObject({ known: 3, needed: 2 });
  });

  it('is known though a configured sentinel that is down is also reported under another address', () => {
    expect(count(voters(names(OLD, 'a'), names(OLD, 'b'), DOWN))).toMatchObject({
      known: 3,
      primary: OLD,
    });
  });

  it('is open while a sentinel has not answered', () => {
    expect(count(voters(names(OLD, 'a'), PENDING))).toMatchObject({ isOpen: true, primary: null });
  });
});

describe('the message without a primary', () => {
  const said = (...answers: Answer[]) =>
    problemOf(voters(...answers), 'mymaster', 'redis.sentinel');

  it('says who names which primary when they disagree', () => {
    const error = said(names(NEW, 'a'), names(OLD, 'b'), DOWN);
    expect(error).toBeInstanceOf(NoPrimaryError);
    expect(error.message).toBe(
      'the sentinels of redis.sentinel disagree: expected 2 of 3 to name one primary of mymaster, found ' +
        '10.0.0.2:6379 by s1:26379; 10.0.0.1:6379 by s2:26379. The relay waits until they agree',
    );
  });

  it('says why the others do not respond when too few do', () => {
    expect(said(names(OLD, 'a'), DOWN, DOWN).message).toBe(
      'too few sentinels of redis.sentinel respond: expected 2 of 3 to name the primary of mymaster, found ' +
        '10.0.0.1:6379 by s1:26379; s is down; s is down. Start the others, or let the relay connect to them',
    );
  });

  it('says that none responds', () => {
    const error = said(DOWN, PENDING);
    expect(error.retryable).toBe(true);
    expect(error.message).toBe(
      'no sentinel of redis.sentinel.nodes responds: s is down; s2:26379: silent',
    );
  });

  it('is that of the login when all sentinels reject it, and waiting cannot help', () => {
    const rejected: Answer = { kind: 'failed', error: new RedisAuthError('wrong password') };
    expect(said(rejected, rejected)).toBe(rejected.error);
    expect(said(rejected, DOWN).retryable).toBe(true);
  });

  it('lists the names that the sentinels know when they do not know the configured one', () => {
    const error = said({ kind: 'unknown', id: 'a', masters: ['shop', 'blog'] }, DOWN);
    expect(error).toBeInstanceOf(UnknownPrimaryError);
    expect(error.message).toBe(
      'the Sentinel at s1:26379 monitors no primary of that name; it monitors shop, blog. Correct ' +
        'redis.sentinel.master',
    );
  });
});
