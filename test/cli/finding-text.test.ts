import { stripVTControlCharacters } from 'node:util';
import { expect, it } from 'vitest';
import { findingText } from '../../src/cli/finding-text.js';
import { paintFor } from '../../src/lib/terminal.js';
import { note, ok, problem, warning } from '../../src/server/finding.js';

const wide = { isTerminal: false, width: Number.POSITIVE_INFINITY, paint: paintFor(false) };

it('a finding is a line, and one with advice below its text', () => {
  expect(findingText(ok('role', 'primary'), 6, wide)).toBe('[+] role    primary\n');
  expect(findingText(problem('role', 'a replica', 'use the primary'), 6, wide)).toBe(
    '[-] role    a replica\n            → use the primary\n',
  );
  expect(findingText(warning('a', 'b'), 1, wide)).toBe('[!] a  b\n');
  expect(findingText(note('a', 'b'), 1, wide)).toBe('[i] a  b\n');
});

it('text is wrapped below itself on a terminal, and a command stays whole', () => {
  const command = `redis-cli ACL SETUSER relay ${'+@hash '.repeat(10)}`;
  const finding = problem(
    'role',
    'one two three four five',
    'six seven eight nine ten run:',
    command,
  );
  expect(findingText(finding, 6, { ...wide, width: 34 })).toBe(
    '[-] role    one two three four\n' +
      '            five\n' +
      '            → six seven eight nine\n' +
      '              ten run:\n' +
      `${command}\n`,
  );
});

it('colors change no text', () => {
  const finding = problem('role', 'a replica', 'run:', 'redis-cli INFO');
  const colored = findingText(finding, 6, { ...wide, paint: paintFor(true) });
  expect(colored).toContain('\u001b[31m[-]');
  expect(stripVTControlCharacters(colored)).toBe(findingText(finding, 6, wide));
});
