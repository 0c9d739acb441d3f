import { readFileSync } from 'node:fs';

export interface Block {
  readonly language: string;
  readonly text: string;
}

const README = readFileSync(new URL('../../README.md', import.meta.url), 'utf8');

/** The README's fenced blocks, in their order. */
export const readmeBlocks: readonly Block[] = [
  ...README.matchAll(/^```(\w+)\n([\s\S]*?)^```$/gm),
].map(([, language = '', text = '']) => ({ language, text }));

/** The only block of this language that holds `mark`. */
export function readmeBlock(language: string, mark: string): string {
  const found = readmeBlocks.filter((b) => b.language === language && b.text.includes(mark));
  if (found.length !== 1 || found[0] === undefined) {
    throw new Error(`expected one ${language} block with "${mark}", found ${found.length}`);
  }
  return found[0].text;
}
