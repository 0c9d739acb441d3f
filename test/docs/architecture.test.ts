import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const page = readFileSync(join(ROOT, 'docs/architecture.md'), 'utf8');

const named = new Set(Array.from(page.matchAll(/`((?:src|test)\/[\w./-]+)`/g), ([, path]) => path));

it('the page on the architecture names files and folders that exist', () => {
  expect(named.size).toBeGreaterThan(50);
  expect([...named].filter((path) => !existsSync(join(ROOT, path ?? '')))).toEqual([]);
});

it('has a paragraph for each folder of src, from the ground up', () => {
  const folders = readdirSync(join(ROOT, 'src'), { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => name);
  const described = Array.from(page.matchAll(/^- \*\*`src\/(\w+)`\*\*/gm), ([, name]) => name);
  expect([...described].sort()).toEqual(folders.sort());
  const rules = readFileSync(join(ROOT, 'test/source-rules.test.ts'), 'utf8');
  const floors = Array.from(
    (/const FLOORS[^=]*= \[([^\]]*)\]/.exec(rules)?.[1] ?? '').matchAll(/'(\w+)'/g),
    ([, name]) => name,
  );
  expect(described).toEqual(floors.filter((name) => described.includes(name)));
});

it('explains every term of its glossary once, in alphabetical order', () => {
  const glossary = page.slice(page.indexOf('## Glossary'));
  const terms = Array.from(glossary.matchAll(/^\| ([a-z][\w -]*?) \|/gm), ([, term]) => term);
  expect(terms.length).toBeGreaterThan(20);
  expect(terms).toEqual([...new Set(terms)].sort());
});
