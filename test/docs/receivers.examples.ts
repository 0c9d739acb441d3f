/** docs/receivers.md shows the receivers as they are. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { RECEIVERS, RECEIVERS_FOLDER } from '../support/examples/receivers.js';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const read = (path: string) => readFileSync(path, 'utf8');

const DOCUMENT = read(join(ROOT, 'docs/receivers.md'));

/** Each block, and the file that it is said to be from. */
const snippets = [
  ...DOCUMENT.matchAll(/\]\(\.\.\/examples\/receivers\/([^)]+)\):\n\n```\w+\n([\s\S]*?)\n```$/gm),
].map(([, file = '', text = '']) => ({ file, text }));

/** `text` without the blanks that all its lines begin with. */
function outdented(lines: readonly string[]): string {
  const indents = lines.filter((line) => line !== '').map((line) => line.search(/\S/));
  const indent = Math.min(...indents);
  return lines.map((line) => line.slice(indent)).join('\n');
}

/** Whether these are consecutive lines of that file, up to their common indentation. */
function isPartOf(text: string, file: string): boolean {
  const lines = read(join(RECEIVERS_FOLDER, file)).split('\n');
  const count = text.split('\n').length;
  return lines.some((_, start) => outdented(lines.slice(start, start + count)) === text);
}

describe('docs/receivers.md', () => {
  it('shows a part of each receiver', () => {
    const files = [...RECEIVERS.map(({ file }) => file), 'csharp/Program.cs'];
    expect(snippets.map(({ file }) => file).sort()).toEqual(files.sort());
  });

  it('has no block that is from no file', () => {
    expect(snippets).toHaveLength(DOCUMENT.match(/^```\w+$/gm)?.length ?? 0);
  });

  it.each(snippets.map(({ file, text }) => [file, text] as const))(
    'shows %s as it is',
    (file, text) => {
      expect(isPartOf(text, file)).toBe(true);
    },
  );

  it('names the versions that are installed for Node', () => {
    const { dependencies } = JSON.parse(read(join(RECEIVERS_FOLDER, 'node/package.json')));
    for (const version of Object.values<string>(dependencies)) {
      expect(DOCUMENT).toContain(` ${version}`);
    }
  });
});
