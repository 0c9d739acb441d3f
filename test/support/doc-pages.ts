/** The documentation: its pages, and the fenced blocks in them. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const ROOT = fileURLToPath(new URL('../../', import.meta.url));

/** Pages that have tests of their own, such as generated ones. */
const TESTED_ELSEWHERE = /^(reference\/|json-output\.md$)/;

/** README.md and the other pages of docs, as seen from the top folder. */
export const PAGES: readonly string[] = [
  'README.md',
  ...readdirSync(join(ROOT, 'docs'), { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith('.md') && !TESTED_ELSEWHERE.test(path))
    .map((path) => `docs/${path}`)
    .sort(),
];

export const readPage = (page: string) => readFileSync(join(ROOT, page), 'utf8');

export interface Block {
  readonly language: string;
  readonly text: string;
}

/** The fenced blocks of a page, in order, without the indentation that they have in lists. */
export function blocksOf(page: string): readonly Block[] {
  const blocks = readPage(page).matchAll(/^( *)```(\w*)\n([\s\S]*?)^\1```$/gm);
  return Array.from(blocks, ([, indent = '', language = '', text = '']) => ({
    language,
    text: text.replaceAll(new RegExp(`^${indent}`, 'gm'), ''),
  }));
}

/** The only block of a page in this language that contains `mark`. */
export function blockOf(page: string, language: string, mark: string): string {
  const found = blocksOf(page).filter((b) => b.language === language && b.text.includes(mark));
  if (found.length !== 1 || found[0] === undefined) {
    throw new Error(
      `expected one ${language} block with "${mark}" in ${page}, found ${found.length}`,
    );
  }
  return found[0].text;
}
