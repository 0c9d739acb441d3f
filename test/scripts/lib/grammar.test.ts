import { beforeAll, expect, it } from 'vitest';
import { loadGrammar } from '../../../scripts/lib/grammar.mjs';

let grammarOf: Awaited<ReturnType<typeof loadGrammar>>;

beforeAll(async () => {
  grammarOf = await loadGrammar();
});

it('finds a wrong article, at its line', async () => {
  expect(await grammarOf('# Title\n\nThe relay sends a event.\n')).toEqual([
    { line: 3, text: expect.stringContaining('(AnA)') },
  ]);
});

it('finds a sentence of more than 40 words, and names it by its beginning', async () => {
  const [finding, ...others] = await grammarOf(`The relay sends ${'one more, '.repeat(20)}one.`);
  expect(others).toEqual([]);
  expect(finding?.text).toMatch(
    /^"The relay sends one more, .*…": This sentence is 4\d words long/,
  );
});

it('accepts units, unknown words, headings in sentence case, and code', async () => {
  const page = [
    '# How to run it',
    '- up to 50 ms and 4 KiB with `a event` of Valkey',
    '```sh\nrun a event\n```',
  ].join('\n\n');
  expect(await grammarOf(page)).toEqual([]);
});
