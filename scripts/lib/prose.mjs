// cspell:ignore aeio aeiu
/** Checks of English text that need no dictionary. Pure. */
import { PHRASES } from './phrases.mjs';

/**
 * @typedef {object} Finding
 * @property {number} line counted from 1
 * @property {string} text
 */

/** More words are hard to remember. */
const SENTENCE_WORDS_MAX = 40;

/** A long sentence is named by its beginning. */
const QUOTE_CHARACTERS_MAX = 60;

/** White space, the sign of a comment on the next line, and the seam of a string that two lines share. */
const GAP = String.raw`(?:['"\x60] \+\n\s*['"\x60]|\s|(?<=\n\s*)(?:\*|//|#|>)(?=\s))+`;

const START = String.raw`(?<![\w.'-])`;

/** Words that are repeated by mistake, and mean nothing in code. */
const OFTEN_REPEATED =
  'a|an|and|are|as|at|be|by|from|has|is|it|its|not|of|on|or|that|the|their|this|to|was|which|with';

const CONSONANT = '(?!heir|honest|honor|hour)[b-df-hj-np-tv-z](?=[a-z]*[aeiouy])';

/** @type {readonly { pattern: RegExp, textOf: (found: string) => string }[]} */
const SEARCHES = [
  ...PHRASES.flatMap(({ write, not }) =>
    not.map((words) => ({
      pattern: new RegExp(String.raw`\b${words.replaceAll(' ', GAP)}\b`, 'gi'),
      textOf: () => `"${words}": write "${write}"`,
    })),
  ),
  {
    pattern: new RegExp(String.raw`${START}(${OFTEN_REPEATED})${GAP}\1(?![\w'-])`, 'gi'),
    textOf: (found) => `"${found}": a word is repeated`,
  },
  {
    pattern: new RegExp(
      String.raw`${START}a${GAP}(?:(?!one\b|once\b|eu)[aeio]|un(?!i)|up|ug)[a-z]+`,
      'g',
    ),
    textOf: (found) => `"${found}": write "an"`,
  },
  {
    // A word without a vowel is spelled out, as in "an https URL".
    pattern: new RegExp(
      `${START}an${GAP}(?:${CONSONANT}[a-z]+|(?:one|once|us[aeiu]|uni)[a-z]*)`,
      'g',
    ),
    textOf: (found) => `"${found}": write "a"`,
  },
];

/**
 * Phrases to avoid, repeated words and wrong articles.
 * @param {string} text a page, or a source with its comments and messages
 * @returns {Finding[]}
 */
export function checkWording(text) {
  return SEARCHES.flatMap(({ pattern, textOf }) =>
    Array.from(text.matchAll(pattern), ({ 0: found, index }) => ({
      line: text.slice(0, index).split('\n').length,
      text: textOf(found.replaceAll(/\s+/g, ' ')),
    })),
  );
}

/**
 * Sentences that are too long. Code counts as a word, and code blocks are left out.
 * @param {string} markdown
 * @returns {Finding[]}
 */
export function checkSentences(markdown) {
  return blocksOf(markdown).flatMap(({ line, text }) =>
    text
      .replaceAll(/`[^`]+`/g, 'Code')
      .replaceAll(/!?\[([^\]]*)\]\([^)]*\)/g, '$1')
      .split(/(?<=[.!?][)"*]*)\s+(?=["(*]*[A-Z])/)
      .map((sentence) => ({ words: sentence.match(/[\p{L}\d][\p{L}\d'’.,-]*/gu) ?? [], sentence }))
      .filter(({ words }) => words.length > SENTENCE_WORDS_MAX)
      .map(({ words, sentence }) => ({
        line,
        text:
          `"${sentence.trim().slice(0, QUOTE_CHARACTERS_MAX)}…": ` +
          `a sentence of ${words.length} words, at most ${SENTENCE_WORDS_MAX}`,
      })),
  );
}

/**
 * Paragraphs, items of lists, headings and cells of tables, with the line at which each begins.
 * @param {string} markdown
 */
function blocksOf(markdown) {
  const withoutCode = markdown.replaceAll(/^ *```[\s\S]*?^ *```$/gm, (block) =>
    block.replaceAll(/.+/g, ''),
  );
  /** @type {{ line: number, text: string }[]} */
  const blocks = [];
  let isOpen = false;
  for (const [at, text] of withoutCode.split('\n').entries()) {
    const last = blocks.at(-1);
    if (text.startsWith('|')) {
      for (const cell of text.split('|')) blocks.push({ line: at + 1, text: cell });
      isOpen = false;
    } else if (text.trim() === '') {
      isOpen = false;
    } else if (last === undefined || !isOpen || /^\s*(?:[-*]|\d+\.|#+) /.test(text)) {
      blocks.push({ line: at + 1, text });
      isOpen = !text.startsWith('#');
    } else {
      last.text += ` ${text.trim()}`;
    }
  }
  return blocks;
}
