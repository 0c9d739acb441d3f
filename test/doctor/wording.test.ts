import { expect, it } from 'vitest';
import { shellWord } from '../../src/redis/advice.js';
import { type Finding, note, ok, problem, summaryText, warning } from '../../src/server/finding.js';
import { parseInfo } from '../../src/server/info.js';
import { keysText, lengthText, sizeText } from '../../src/server/wording.js';

it.each([
  [0.312, '0.3 ms'],
  [42, '42 ms'],
  [100, '0.1 s'],
  [5_000, '5 s'],
  [25_000, '25 s'],
  [119_000, '119 s'],
  [2_500_000, '42 min'],
  [4_980_000, '83 min'],
  [8_000_000, '2 h'],
  [172_800_000, '2 days'],
])('%d ms reads %s', (ms, text) => {
  expect(lengthText(ms)).toBe(text);
});

it('counts and sizes are formatted for readers', () => {
  expect([0, 1, 10_000].map(keysText)).toEqual(['0 keys', '1 key', '10,000 keys']);
  expect([512, 104_857_600, 1.5 * 1024 ** 3].map(sizeText)).toEqual([
    '512 B',
    '100 MiB',
    '1.5 GiB',
  ]);
});

it('a word for a shell is quoted if necessary', () => {
  const words = ['+get', '+@hash', '+client|setname', '%R~*', "it's"];
  expect(words.map(shellWord)).toEqual([
    '+get',
    '+@hash',
    "'+client|setname'",
    "'%R~*'",
    "'it'\\''s'",
  ]);
});

it.each<[Finding[], string]>([
  [[ok('a', 'b'), note('a', 'b')], 'no problems found'],
  [[warning('a', 'b', null)], '0 problems, 1 warning'],
  [
    [problem('a', 'b', null), problem('a', 'b', null), warning('a', 'b', null)],
    '2 problems, 1 warning',
  ],
])('the summary of %# is as expected', (findings, text) => {
  expect(summaryText(findings)).toBe(text);
});

it('INFO is parsed: fields, databases, and missing databases', () => {
  const info = parseInfo(
    '# Server\r\nredis_version:7.0.15\r\n\r\n# Keyspace\r\ndb3:keys=7,expires=5,avg_ttl=0\r\n',
  );
  expect(info.get('redis_version')).toBe('7.0.15');
  expect(info.get('# Server')).toBeNull();
  expect(info.keyspace(3)).toEqual({ keys: 7, expires: 5 });
  expect(info.keyspace(0)).toEqual({ keys: 0, expires: 0 });
});
