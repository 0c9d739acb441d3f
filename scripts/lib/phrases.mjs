/**
 * Phrases that a native reader has to read twice, and their replacements. `npm run lint` finds them in the
 * documentation and in the code: in comments, messages, names and titles of tests.
 */

/**
 * @typedef {object} Phrase
 * @property {string} write
 * @property {readonly string[]} not plain words in lower case; a blank stands for any white space
 */

/** @type {readonly Phrase[]} */
export const PHRASES = [
  { write: 'anyone who, the process that', not: ['whoever', 'whosoever'] },
  { write: 'in progress', not: ['under way'] },
  { write: 'permanently', not: ['for ever'] },
  { write: 'including', not: ['among it'] },
  { write: 'and related keys', not: ['and its kin', 'and their kin'] },
  { write: 'many, much', not: ['a great deal'] },
  { write: 'available', not: ['can be had', 'is to be had'] },
  { write: 'pending', not: ['neither done nor dead'] },
  { write: 'still, nevertheless', not: ['all the same'] },
  { write: 'therefore', not: ['thereupon', 'wherefore', 'therewith'] },
  { write: 'because of', not: ['owing to'] },
  { write: 'received', not: ['heard', 'is told', 'are told', 'was told', 'were told'] },
  { write: 'fix', not: ['mend', 'mends', 'mended'] },
  { write: 'meanwhile, in the meantime', not: ['in the mean'] },
  { write: 'is received, occurs', not: ['comes by'] },
];
