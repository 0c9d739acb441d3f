import { defineConfig } from 'vitest/config';

// biome-ignore lint/style/noDefaultExport: vitest reads the default export
export default defineConfig({
  test: {
    include: ['test/large/*.large.ts'],
    provide: { stateServer: 'alone' },
    testTimeout: 120_000,
    hookTimeout: 30_000,
    // What is measured is not to wait for another test.
    fileParallelism: false,
  },
});
