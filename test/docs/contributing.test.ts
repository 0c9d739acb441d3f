/** CONTRIBUTING.md and SECURITY.md name files, folders, commands and tests that exist. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const read = (path: string) => readFileSync(join(ROOT, path), 'utf8');
const all = (text: string, pattern: RegExp) =>
  Array.from(text.matchAll(pattern), ([, found = '']) => found);

const contributing = read('CONTRIBUTING.md');

describe.each(['CONTRIBUTING.md', 'SECURITY.md'])('%s', (page) => {
  it('links to files that exist', () => {
    const targets = all(read(page), /\]\((?!https?:)([^)#]+)/g);
    expect(targets.length).toBeGreaterThan(1);
    expect(targets.filter((path) => !existsSync(join(ROOT, path)))).toEqual([]);
  });
});

describe('CONTRIBUTING.md', () => {
  it('names files and folders that exist', () => {
    const paths = all(
      contributing,
      /[` ]((?:\.ci|src|test|docs|examples|scripts|bench)\/[\w./-]*)/g,
    );
    expect(paths.length).toBeGreaterThan(10);
    expect(paths.filter((path) => !existsSync(join(ROOT, path)))).toEqual([]);
  });

  it('has a row for each folder of the repository', () => {
    const folders = readdirSync(ROOT, { withFileTypes: true })
      .filter((entry) => entry.isDirectory() && !entry.name.startsWith('.'))
      .map(({ name }) => name)
      .filter((name) => !['node_modules', 'dist', 'coverage'].includes(name));
    expect(all(contributing, /^\| `(\w+)\/` \|/gm).sort()).toEqual(folders.sort());
  });

  it('names commands of package.json and projects of vitest.config.ts', () => {
    const { scripts } = JSON.parse(read('package.json'));
    const commands = all(contributing, /npm run ([\w:]+)/g);
    expect(commands.length).toBeGreaterThan(4);
    expect(commands.filter((name) => !(name in scripts))).toEqual([]);
    const projects = all(contributing, /--project (\w+)/g);
    expect(projects.length).toBeGreaterThan(1);
    const config = read('vitest.config.ts');
    expect(projects.filter((name) => !config.includes(`name: '${name}'`))).toEqual([]);
  });

  it('selects tests that exist', () => {
    const [, path = '', title = ''] = /(test\/\S+) -t "([^"]+)"/.exec(contributing) ?? [];
    expect(read(path)).toContain(`'${title}'`);
  });
});
