/**
 * Checks the English of the project, as a part of `npm run lint`: phrases to avoid, repeated words and wrong
 * articles in the documentation and in the code, and the length of sentences in the documentation. cspell
 * checks the spelling.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { checkSentences, checkWording } from './lib/prose.mjs';
import { say } from './lib/steps.mjs';

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));

/** The list of phrases, and the tests of the checks, whose texts have deliberate errors. */
const EXEMPT = ['scripts/lib/phrases.mjs', 'test/scripts/lib/prose.test.ts'];

/**
 * Paths from the project's root.
 * @param {string} folder
 * @param {string} extension
 * @returns {string[]}
 */
function filesIn(folder, extension) {
  return readdirSync(join(ROOT, folder), { recursive: folder !== '.', encoding: 'utf8' })
    .map((path) => join(folder, path))
    .filter((path) => path.endsWith(extension) && !path.includes('node_modules'))
    .sort();
}

const pages = ['.', 'docs', 'examples'].flatMap((folder) => filesIn(folder, '.md'));
const code = ['src', 'test', 'bench', 'scripts', 'examples'].flatMap((folder) =>
  ['.ts', '.mjs'].flatMap((extension) => filesIn(folder, extension)),
);
const sources = ['relay.example.yaml', ...code.filter((path) => !EXEMPT.includes(path))];

let count = 0;
for (const path of [...pages, ...sources]) {
  const text = readFileSync(join(ROOT, path), 'utf8');
  const findings = [...checkWording(text), ...(pages.includes(path) ? checkSentences(text) : [])];
  for (const finding of findings.sort((a, b) => a.line - b.line)) {
    say(`${path}:${finding.line}: ${finding.text}`);
    count += 1;
  }
}
if (count > 0) {
  say(`${count} findings`);
  process.exitCode = 1;
}
