/** CHANGELOG.md keeps the form of Keep a Changelog, and the version is written in package.json alone. */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { VERSION } from '../../src/lib/version.js';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const read = (path: string) => readFileSync(join(ROOT, path), 'utf8');

/** The order in which Keep a Changelog lists them. */
const SECTIONS = ['Added', 'Changed', 'Deprecated', 'Removed', 'Fixed', 'Security'];

const [introduction = '', ...releases] = read('CHANGELOG.md').split(/^## /m);
const headingOf = (release: string) => release.split('\n')[0] ?? '';

it('begins with the version of package.json', () => {
  expect(introduction).toContain('https://keepachangelog.com/en/1.1.0/');
  expect(headingOf(releases[0] ?? '')).toMatch(
    new RegExp(String.raw`^\[${VERSION}\] - (Unreleased|\d{4}-\d{2}-\d{2})$`),
  );
});

it('names each release once, the newest first', () => {
  const versions = releases.map((release) => /^\[(\d+\.\d+\.\d+)\]/.exec(release)?.[1] ?? '?');
  const byNumber = (a: string, b: string) => a.localeCompare(b, 'en', { numeric: true });
  expect(versions).toEqual([...new Set(versions)].sort(byNumber).reverse());
});

it.each(releases.map((release) => [headingOf(release), release]))(
  'has the standard sections in %s, each once and in order',
  (_, release) => {
    const sections = Array.from(release.matchAll(/^### (.*)$/gm), ([, name = '']) => name);
    expect(sections).toEqual(SECTIONS.filter((name) => sections.includes(name)));
    const lists = release.split(/^### .*$/m).slice(1);
    for (const list of lists) expect(list).toMatch(/^\n\n- /);
  },
);

/** Of dependencies: what they lock, and what is installed. */
const FOREIGN = /[-.]lock\b|node_modules|go\.sum|\.tgz$/;

it('the version is written in package.json, its lock file and the changelog alone', () => {
  const lock = JSON.parse(read('package-lock.json'));
  expect([lock.version, lock.packages[''].version]).toEqual([VERSION, VERSION]);
  const folders = ['docs', 'examples', 'scripts', 'src', 'test'];
  const files = [
    ...readdirSync(ROOT).filter((path) => statSync(join(ROOT, path)).isFile()),
    ...folders.flatMap((folder) =>
      readdirSync(join(ROOT, folder), { recursive: true, withFileTypes: true })
        .filter((entry) => entry.isFile())
        .map((entry) => join(entry.parentPath, entry.name).slice(ROOT.length)),
    ),
  ].filter((path) => !FOREIGN.test(path) && !['package.json', 'CHANGELOG.md'].includes(path));
  expect(files.length).toBeGreaterThan(500);
  const asText = new RegExp(String.raw`(?<![\d.])${VERSION.replaceAll('.', '\\.')}(?![\d.]*\d)`);
  expect(files.filter((path) => asText.test(read(path)))).toEqual([]);
});
