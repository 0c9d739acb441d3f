import { describe, expect, it } from 'vitest';
import { PHRASES } from '../../../scripts/lib/phrases.mjs';
import { checkSentences, checkWording } from '../../../scripts/lib/prose.mjs';

const ALL = PHRASES.flatMap(({ not }) => not);

const textsOf = (text: string) => checkWording(text).map((finding) => finding.text);

describe('phrases to avoid', () => {
  it.each(ALL)('%s is found at its line, in capitals as well', (words) => {
    expect(checkWording(`The relay.\nHere ${words}, too.`).map(({ line }) => line)).toEqual([2]);
    expect(checkWording(words.toUpperCase())).toHaveLength(1);
  });

  it.each([
    ['a page', 'An attempt that is under\nway ends.'],
    ['a comment', '/**\n * An attempt that is under\n * way ends.\n */'],
    ['a line comment', '  // An attempt that is under\n  // way ends.'],
    ['YAML', '# An attempt that is under\n# way ends.'],
    ['a message', "const text = 'an attempt that is under ' +\n  'way ends';"],
  ])('are found across the lines of %s', (_, text) => {
    expect(textsOf(text)).toEqual(['"under way": write "in progress"']);
  });

  it.each(['thunder way', 'under ways', 'under, way'])('are not found in "%s"', (text) => {
    expect(textsOf(text)).toEqual([]);
  });

  it('appear once in the list, and in no replacement', () => {
    expect(ALL).toEqual([...new Set(ALL)]);
    expect(PHRASES.flatMap(({ write }) => textsOf(write))).toEqual([]);
  });
});

describe('repeated words', () => {
  it.each(['in the the log', 'It is is so.', ' * of the\n * the relay'])(
    'are found in "%s"',
    (text) => {
      expect(textsOf(text)).toEqual([expect.stringMatching(/a word is repeated$/)]);
    },
  );

  it.each(['the theory', 'end end', 'is-is', 'the.the'])('are not found in "%s"', (text) => {
    expect(textsOf(text)).toEqual([]);
  });
});

describe('articles', () => {
  it.each([
    ['a event', 'an'],
    ['a unknown key', 'an'],
    ['an user', 'a'],
    ['an key', 'a'],
    ['an hash', 'a'],
  ])('"%s" needs "%s"', (text, article) => {
    expect(textsOf(`Sends ${text}.`).filter((t) => t.endsWith(`write "${article}"`))).toHaveLength(
      1,
    );
  });

  it.each([
    'a user',
    'an hour',
    'a one-line file',
    'an https URL',
    'an event',
    'a usual key',
    'a Unix socket',
  ])('"%s" is right', (text) => {
    expect(textsOf(`Sends ${text}.`)).toEqual([]);
  });
});

describe('sentences', () => {
  const words = (count: number) => `The ${'relay '.repeat(count - 1).trim()}`;

  it('have at most 40 words', () => {
    expect(checkSentences(`# Title\n\n${words(40)}.`)).toEqual([]);
    expect(checkSentences(`# Title\n\n${words(41)}.`)).toEqual([
      {
        line: 3,
        text: expect.stringMatching(/^"The relay .*…": a sentence of 41 words, at most 40$/),
      },
    ]);
  });

  it('end at full stops, paragraphs, items, headings and cells, and go on over lines', () => {
    const half = words(25);
    const parts = ['. ', '.\n', '\n\n', '\n- ', '\n1. ', '\n\n# '].map((end) => half + end + half);
    for (const text of [...parts, `| ${half} | ${half} |`])
      expect(checkSentences(text)).toEqual([]);
    for (const text of [`${half}\n${half}`, `- ${half}\n  ${half}`, `${half}, \`a. B\` ${half}`]) {
      expect(checkSentences(text)).toHaveLength(1);
    }
  });

  it('are not looked for in code and the targets of links', () => {
    const long = words(50);
    expect(
      checkSentences(`\`\`\`sh\n${long}\n\`\`\`\nIt is \`${long}\`, see [it](${long}).`),
    ).toEqual([]);
  });
});
