import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { ROOT, readPage } from '../support/doc-pages.js';
import { configurationReference } from '../support/reference/configuration.js';

const PAGE = 'docs/reference/configuration.md';

/** The paths of all keys of a file; names that the operator chooses are `<name>`. */
function pathsOf(value: unknown, path = ''): readonly string[] {
  if (Array.isArray(value)) return [path, ...value.flatMap((item) => pathsOf(item, `${path}[]`))];
  if (typeof value !== 'object' || value === null) return [path];
  const isNamed = ['.endpoints', '.endpoints.<name>.headers'].includes(path);
  const inner = Object.entries(value).flatMap(([name, one]) =>
    path === '.routes[].body' ? [] : pathsOf(one, `${path}.${isNamed ? '<name>' : name}`),
  );
  return [path, ...inner];
}

describe(PAGE, () => {
  it('is up to date', async () => {
    await expect(configurationReference()).toMatchFileSnapshot(join(ROOT, PAGE));
  });

  it('has a row for each key of the example file', () => {
    const page = readPage(PAGE);
    const paths = pathsOf(parse(readPage('relay.example.yaml')))
      .map((path) => path.slice(1))
      .filter((path) => path !== '' && !/(\[\]|<name>)$/.test(path));
    expect(paths.length).toBeGreaterThan(25);
    expect(paths.filter((path) => !page.includes(`| \`${path}\` |`))).toEqual([]);
  });

  it.each([
    '| `endpoints.<name>.timeout` | duration | `15s` | 1ms to 10m | no |',
    '| `endpoints.<name>.secrets[].file` | string | required | the path of a file | no |',
    '| `redis.password_file` | string |  | the path of a file | path |',
    '| `state.dead_letters.max` | integer | `10000` | 1 to 1,000,000 | no |',
    '| `endpoints.<name>.concurrency` | integer | `32` | 1 to 1,024 | no |',
    '| `endpoints.<name>.retry.schedule` | list of durations | `[1s, 5s, 30s, 2m, 10m, 30m, 2h, 5h, 10h, 24h]` | 0 to 50 items, each 0ms to 30d | no |',
    '| `endpoints.<name>.allow_link_local` | boolean | `false` | `true`, `false` | no |',
    '| `redis.notifications` | string | `manage` | `manage`, `require` | yes |',
    '| `routes[].match` | string or list of strings | required | a glob pattern; 1 to 100 items |',
    '| `endpoints.<name>.secrets` | `none` or list of strings or mappings | required |',
  ])('has the row %s', (row) => {
    expect(configurationReference()).toContain(row);
  });
});
