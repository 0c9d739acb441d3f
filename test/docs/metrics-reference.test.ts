/** docs/reference/metrics.md is made from the registry of the metrics. `npm run reference` writes it. */
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { ROOT } from '../support/doc-pages.js';
import { metricsPage, readMetrics } from '../support/reference/metrics.js';

it('docs/reference/metrics.md is up to date', async () => {
  const text = metricsPage(await readMetrics());
  await expect(text).toMatchFileSnapshot(join(ROOT, 'docs/reference/metrics.md'));
});
