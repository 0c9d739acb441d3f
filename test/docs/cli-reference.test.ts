import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { NEGATIVE_RESULTS } from '../../src/cli/exit-codes.js';
import { ROOT, readPage } from '../support/doc-pages.js';
import { cliReference } from '../support/reference/cli.js';

const PAGE = 'docs/reference/cli.md';

describe(PAGE, () => {
  it('is up to date', async () => {
    await expect(await cliReference()).toMatchFileSnapshot(join(ROOT, PAGE));
  });

  it.each(Object.entries(NEGATIVE_RESULTS))(
    'has the exit code of `%s` in its help',
    (words, text) => {
      const [, section = ''] = readPage(PAGE).split(`\n## \`${words}\`\n`);
      expect(section.split('\n## ')[0]).toContain(`Exit code 1:\n  ${text}`);
    },
  );
});
