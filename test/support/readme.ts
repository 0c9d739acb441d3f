import { readFileSync } from 'node:fs';

export interface Block {
  readonly language: string;
  readonly text: string;
}

/** The fenced blocks of a page, in their order; `page` is as seen from the top folder. */
export function blocksOf(page: string): readonly Block[] {
  const text = readFileSync(new URL(`../../${page}`, import.meta.url), 'utf8');
  const blocks = text.matchAll(/^```(\w+)\n([\s\S]*?)^```$/gm);
  return Array.from(blocks, ([, language = '', text = '']) => ({ language, text }));
}

export const readmeBlocks = blocksOf('README.md');

/** The only block of this language that holds `mark`. */
export function readmeBlock(language: string, mark: string, blocks = readmeBlocks): string {
  const found = blocks.filter((b) => b.language === language && b.text.includes(mark));
  if (found.length !== 1 || found[0] === undefined) {
    throw new Error(`expected one ${language} block with "${mark}", found ${found.length}`);
  }
  return found[0].text;
}
