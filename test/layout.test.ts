/** The places of files in test/, scripts/ and bench/; source-rules.test.ts checks src/. */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const LINES_MAX = 450;

const read = (path: string) => readFileSync(join(ROOT, path), 'utf8');

/** All files below a folder, with its name, without installed packages. */
function filesIn(folder: string): string[] {
  return readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' })
    .map((path) => `${folder}/${path.replaceAll('\\', '/')}`)
    .filter((path) => !path.includes('node_modules') && statSync(join(ROOT, path)).isFile());
}

/** Without empty folders, which git does not track. */
const foldersIn = (folder: string) =>
  new Set(filesIn(folder).flatMap((path) => path.split('/').slice(1, -1).slice(0, 1)));

describe('test/', () => {
  /** A contract is a suite for every implementation, which the test of each one calls. */
  const SUITE = /^[a-z0-9-]+(\.(e2e|property))?\.test\.ts$|\.(contract|examples|large|chaos)\.ts$/;

  /** Beside the folders that mirror src/. */
  const OWN = ['chaos', 'docs', 'e2e', 'examples', 'large', 'scripts', 'support'];

  const isSuite = (path: string) => SUITE.test(path.split('/').at(-1) ?? '');

  it('contains only suites: a helper belongs in test/support, data in testdata/', () => {
    const strays = filesIn('test').filter(
      (path) =>
        !isSuite(path) &&
        !/^test\/support\/|\/testdata\//.test(path) &&
        path !== 'test/tsconfig.json',
    );
    expect(strays).toEqual([]);
  });

  it('contains no suite among the helpers', () => {
    expect(filesIn('test/support').filter(isSuite)).toEqual([]);
  });

  it('mirrors the folders of src/', () => {
    const known = new Set([...foldersIn('src'), ...OWN]);
    expect([...foldersIn('test')].filter((folder) => !known.has(folder))).toEqual([]);
  });
});

describe('scripts/', () => {
  it('contains the commands of package.json; shared code belongs in scripts/lib', () => {
    const commands = read('package.json');
    const strays = readdirSync(join(ROOT, 'scripts')).filter(
      (name) => name !== 'lib' && !commands.includes(`node scripts/${name}`),
    );
    expect(strays).toEqual([]);
  });
});

describe('bench/', () => {
  it('contains the benches of main.mjs; shared code belongs in bench/lib', () => {
    const main = read('bench/main.mjs');
    const strays = readdirSync(join(ROOT, 'bench')).filter(
      (name) =>
        name.endsWith('.mjs') &&
        name !== 'main.mjs' &&
        !(name.endsWith('.bench.mjs') && main.includes(`'./${name}'`)),
    );
    expect(strays).toEqual([]);
  });
});

describe('every file of scripts/ and bench/', () => {
  it(`has at most ${LINES_MAX} lines`, () => {
    const programs = [...filesIn('scripts'), ...filesIn('bench')].filter((p) => p.endsWith('.mjs'));
    const long = programs.filter((path) => read(path).trimEnd().split('\n').length > LINES_MAX);
    expect(long).toEqual([]);
  });
});
