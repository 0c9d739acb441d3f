/**
 * Checks the English of the project, as a part of `npm run lint`: the grammar of the documentation, and
 * phrases to avoid in the documentation and in src. The spelling is checked by cspell.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { loadGrammar } from './lib/grammar.mjs';
import { findPhrases } from './lib/phrases.mjs';
import { say } from './lib/steps.mjs';

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));

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
const sources = ['relay.example.yaml', ...filesIn('src', '.ts')];

const grammarOf = await loadGrammar();
let count = 0;
for (const path of [...pages, ...sources]) {
  const text = readFileSync(join(ROOT, path), 'utf8');
  const grammar = pages.includes(path) ? await grammarOf(text) : [];
  for (const finding of [...findPhrases(text), ...grammar].sort((a, b) => a.line - b.line)) {
    say(`${path}:${finding.line}: ${finding.text}`);
    count += 1;
  }
}
if (count > 0) {
  say(`${count} findings`);
  process.exitCode = 1;
}
