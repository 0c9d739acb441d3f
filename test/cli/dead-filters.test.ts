// cspell:ignore cancle exausted shpo
import { describe, expect, it } from 'vitest';
import {
  checkEndpoint,
  type FilterOptions,
  isEverything,
  matches,
  noMatchText,
  readFilter,
} from '../../src/cli/dead-filters.js';
import { UsageError } from '../../src/model/errors.js';
import { aDeadLetter } from '../support/dead-letters.js';

const NOW_MS = Date.parse('2026-11-22T08:00:00Z');
const MINUTE_MS = 60_000;
const letter = aDeadLetter({ agoMs: 60 * MINUTE_MS, delivery: { id: 'a' } }, NOW_MS);

describe('a filter', () => {
  it('of nothing fits every dead letter', () => {
    expect(isEverything(readFilter({}))).toBe(true);
    expect(matches(readFilter({}), letter, NOW_MS)).toBe(true);
  });

  it.each<[FilterOptions, boolean]>([
    [{ endpoint: 'shop' }, true],
    [{ endpoint: 'audit' }, false],
    [{ route: 'cancel' }, true],
    [{ route: 'other' }, false],
    [{ id: ['b', 'a'] }, true],
    [{ id: ['b'] }, false],
    [{ reason: 'exhausted' }, true],
    [{ reason: 'gone' }, false],
    [{ olderThan: '1h' }, true],
    [{ olderThan: '61m' }, false],
    [{ newerThan: '60m' }, true],
    [{ newerThan: '59m' }, false],
    [{ olderThan: '30m', newerThan: '2h' }, true],
    [{ endpoint: 'shop', reason: 'gone' }, false],
  ])('of %j fits one of shop that died an hour ago: %s', (options, expected) => {
    const filter = readFilter(options);
    expect(matches(filter, letter, NOW_MS)).toBe(expected);
    expect(isEverything(filter)).toBe(false);
  });

  it('takes ids beside the options and among them', () => {
    const filter = readFilter({ id: ['b', 'a'] }, ['a', 'c']);
    expect([...(filter.ids ?? [])].sort()).toEqual(['a', 'b', 'c']);
  });

  it.each<[FilterOptions, string]>([
    [
      { reason: 'exausted' },
      '--reason: expected exhausted, gone, too_old or unknown_endpoint, found "exausted" ' +
        '(did you mean "exhausted"?)',
    ],
    [
      { reason: '' },
      '--reason: expected exhausted, gone, too_old or unknown_endpoint, found an empty string',
    ],
    [
      { olderThan: '2 hours' },
      '--older-than: expected a duration such as 250ms, 15s, 1h30m or 1w, found "2 hours"',
    ],
    [
      { newerThan: '15' },
      '--newer-than: expected a duration such as 250ms, 15s, 1h30m or 1w, found "15" (which unit?)',
    ],
    [{ newerThan: '9999d' }, '--newer-than: expected a duration from 0ms to 3650d, found "9999d"'],
    [
      { route: 'a\u001bb' },
      '--route: expected a name of 1–64 letters, digits, - and _, found "a\\x1bb"',
    ],
    [
      { olderThan: '2h', newerThan: '15m' },
      '--older-than 2h and --newer-than 15m match nothing: expected --older-than to be shorter',
    ],
  ])('%j is wrong usage that says what was expected', (options, message) => {
    expect(() => readFilter(options)).toThrow(new UsageError(message));
  });

  it('of an endpoint that nobody knows is wrong usage, with the name that was meant', () => {
    const known = new Set(['shop', 'audit']);
    expect(() => checkEndpoint(readFilter({ endpoint: 'audit' }), known)).not.toThrow();
    expect(() => checkEndpoint(readFilter({}), known)).not.toThrow();
    expect(() => checkEndpoint(readFilter({ endpoint: 'shpo' }), known)).toThrow(
      new UsageError(
        '--endpoint: expected an endpoint in the configuration or in the state, found "shpo" ' +
          '(did you mean "shop"?)',
      ),
    );
  });

  it('that nothing fits says so, and which route was probably meant', () => {
    const routes = [{ name: 'cancel' }];
    expect(noMatchText(readFilter({ route: 'cancel' }), routes)).toBe('no dead letters match');
    expect(noMatchText(readFilter({ route: 'cancle' }), routes)).toBe(
      'no dead letters match; the configuration has no route "cancle" (did you mean "cancel"?)',
    );
    expect(noMatchText(readFilter({ route: 'sessions' }), routes)).toBe(
      'no dead letters match; the configuration has no route "sessions"',
    );
  });
});
