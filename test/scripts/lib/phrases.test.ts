import { describe, expect, it } from 'vitest';
import { findPhrases, PHRASES } from '../../../scripts/lib/phrases.mjs';

const ALL = PHRASES.flatMap(({ not }) => not);

describe('phrases to avoid', () => {
  it.each(ALL)('%s is found at its line, in capitals as well', (words) => {
    expect(findPhrases(`The relay.\nHere ${words}, too.`).map(({ line }) => line)).toEqual([2]);
    expect(findPhrases(words.toUpperCase())).toHaveLength(1);
  });

  it.each([
    ['a page', 'An attempt that is under\nway ends.'],
    ['a comment', '/**\n * An attempt that is under\n * way ends.\n */'],
    ['a line comment', '  // An attempt that is under\n  // way ends.'],
    ['YAML', '# An attempt that is under\n# way ends.'],
    ['a message', "const text = 'an attempt that is under ' +\n  'way ends';"],
  ])('are found across the lines of %s', (_, text) => {
    expect(findPhrases(text).map(({ text }) => text)).toEqual(['"under way": write "in progress"']);
  });

  it('are not found in parts of words, nor across punctuation', () => {
    expect(findPhrases('thunder way')).toEqual([]);
    expect(findPhrases('under ways')).toEqual([]);
    expect(findPhrases('under, way')).toEqual([]);
  });

  it('appear once in the list, without their own replacement', () => {
    expect(ALL).toEqual([...new Set(ALL)]);
    expect(PHRASES.flatMap(({ write }) => findPhrases(write))).toEqual([]);
  });
});
