/**
 * Phrases that a native reader has to read twice, and their replacements. `npm run lint` finds them in the
 * documentation and in src: in comments, messages and names.
 */

/**
 * @typedef {object} Phrase
 * @property {string} write
 * @property {readonly string[]} not plain words in lower case; a blank stands for any white space
 *
 * @typedef {object} Finding
 * @property {number} line counted from 1
 * @property {string} text
 */

/** @type {readonly Phrase[]} */
export const PHRASES = [
  { write: 'anyone who, the process that', not: ['whoever', 'whosoever'] },
  { write: 'in progress', not: ['under way'] },
  { write: 'permanently', not: ['for ever', 'for good'] },
  { write: 'unknown', not: ['cannot be told', 'is not told'] },
  { write: 'including', not: ['among it'] },
  { write: 'and related keys', not: ['and its kin', 'and their kin'] },
  { write: 'many, much', not: ['a great deal'] },
  { write: 'available', not: ['can be had', 'is to be had'] },
  { write: 'pending', not: ['neither done nor dead'] },
  { write: 'has no cost', not: ['costs nothing', 'cost nothing'] },
  { write: 'on average', not: ['in the mean'] },
  { write: 'again', not: ['anew'] },
  { write: 'still, nevertheless', not: ['all the same'] },
  { write: 'therefore', not: ['thereupon', 'wherefore', 'therewith'] },
  { write: 'because of', not: ['owing to'] },
];

/** White space, the sign of a comment on the next line, and the seam of a string that two lines share. */
const GAP = String.raw`(?:['"\x60] \+\n\s*['"\x60]|\s|(?<=\n\s*)(?:\*|//|#|>)(?=\s))+`;

const SEARCHES = PHRASES.flatMap(({ write, not }) =>
  not.map((words) => ({
    write,
    words,
    pattern: new RegExp(String.raw`\b${words.replaceAll(' ', GAP)}\b`, 'gi'),
  })),
);

/**
 * @param {string} text
 * @returns {Finding[]}
 */
export function findPhrases(text) {
  return SEARCHES.flatMap(({ write, words, pattern }) =>
    Array.from(text.matchAll(pattern), ({ index }) => ({
      line: lineAt(text, index),
      text: `"${words}": write "${write}"`,
    })),
  );
}

/**
 * @param {string} text
 * @param {number} index
 */
export function lineAt(text, index) {
  return text.slice(0, index).split('\n').length;
}
