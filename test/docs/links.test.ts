/** Links and references to the documentation lead somewhere. */
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { describe, expect, it } from 'vitest';
import { ROOT } from '../support/doc-pages.js';

const README_LINES_MAX = 150;

const read = (path: string) => readFileSync(join(ROOT, path), 'utf8');

/** The files under a folder, as seen from the top folder. */
const filesIn = (folder: string) =>
  readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' }).map((path) =>
    join(folder, path),
  );

const DOCS = filesIn('docs').filter((path) => path.endsWith('.md'));
const PAGES = [
  ...readdirSync(ROOT).filter((path) => path.endsWith('.md')),
  ...DOCS,
  ...filesIn('examples').filter((path) => /^(?!.*node_modules).*\.md$/.test(path)),
];

/** The text of a page without code, in which brackets are not links. */
const proseOf = (page: string) =>
  read(page)
    .replaceAll(/^( *)```[\s\S]*?^\1```$/gm, '')
    .replaceAll(/`[^`]*`/g, (code) => code.replaceAll(/[[\]()]/g, ''));

/** The anchors that GitHub gives to the headings of a page. */
const anchorsOf = (page: string) =>
  [
    ...read(page)
      .replaceAll(/^```[\s\S]*?^```$/gm, '')
      .matchAll(/^#+ (.*)$/gm),
  ].map(([, heading = '']) =>
    heading
      .toLowerCase()
      .replaceAll(/[^\w\s-]/g, '')
      .replaceAll(' ', '-'),
  );

/** Why a link of a page is dead; null if it is not. */
function defectOf(page: string, link: string): string | null {
  const [path = '', anchor] = link.split('#');
  const target = path === '' ? page : join(dirname(page), path);
  if (!existsSync(join(ROOT, target))) return `${page}: ${link}: no such file`;
  if (anchor === undefined) return null;
  if (!target.endsWith('.md')) return `${page}: ${link}: an anchor in a file that is not a page`;
  return anchorsOf(target).includes(anchor) ? null : `${page}: ${link}: no such heading`;
}

const linksOf = (page: string) =>
  [...proseOf(page).matchAll(/\]\((?!https?:)([^)\s]+)\)/g)].map(([, link = '']) => link);

describe('the documentation', () => {
  it('has no dead links and no dead anchors', () => {
    const links = PAGES.flatMap((page) => linksOf(page).map((link) => ({ page, link })));
    expect(links.length).toBeGreaterThan(150);
    const defects = links.map(({ page, link }) => defectOf(page, link));
    expect(defects.filter((defect) => defect !== null)).toEqual([]);
  });

  it('is recognized as broken if a file or a heading is missing', () => {
    expect(defectOf('README.md', 'docs/no-such-page.md')).toContain('no such file');
    expect(defectOf('docs/README.md', 'values.md#no-such-heading')).toContain('no such heading');
    expect(defectOf('docs/README.md', '../README.md#quick-start')).toBeNull();
  });

  it('has every page in its index', () => {
    const indexed = linksOf('docs/README.md').map((link) => join('docs', link));
    const folders = indexed.filter((path) => path.endsWith('/'));
    const missing = DOCS.filter(
      (page) => page !== 'docs/README.md' && !indexed.includes(page),
    ).filter((page) => !folders.some((folder) => page.startsWith(folder)));
    expect(missing).toEqual([]);
  });

  it('has unique headings in each page, so that every anchor is unique', () => {
    const repeated = DOCS.flatMap((page) => {
      const anchors = anchorsOf(page);
      return anchors
        .filter((anchor, at) => anchors.indexOf(anchor) !== at)
        .map((a) => `${page}#${a}`);
    });
    expect(repeated).toEqual([]);
  });

  it('exists where other files refer to it', () => {
    const files = ['src', 'test', 'scripts', 'bench', 'examples']
      .flatMap(filesIn)
      .filter((path) => /^(?!.*node_modules).*\.(ts|mjs|ya?ml|md)$/.test(path));
    const named = [...files, 'relay.example.yaml', 'CHANGELOG.md', 'package.json', 'Dockerfile']
      .filter((path) => path !== relative(ROOT, import.meta.filename))
      .filter((path) => statSync(join(ROOT, path)).isFile())
      .flatMap((path) =>
        [...read(path).matchAll(/\bdocs\/[\w/-]+\.(?:md|svg)(?:#[\w-]+)?/g)].map(([link]) => ({
          path,
          link,
        })),
      );
    expect(named.length).toBeGreaterThan(10);
    const defects = named.flatMap(({ path, link }) => {
      const defect = defectOf('README.md', link);
      return defect === null ? [] : [`${path}: ${defect}`];
    });
    expect(defects).toEqual([]);
  });

  it(`has a README of at most ${README_LINES_MAX} lines`, () => {
    expect(read('README.md').trimEnd().split('\n').length).toBeLessThanOrEqual(README_LINES_MAX);
  });
});
