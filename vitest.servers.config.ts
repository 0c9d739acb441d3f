import { defineConfig } from 'vitest/config';

// biome-ignore lint/style/noDefaultExport: vitest reads the default export
export default defineConfig({
  test: {
    // What depends on the server's make and version.
    include: [
      'test/source/past-deadlines.test.ts',
      'test/source/{canary,keyspace,notifications}.test.ts',
      'test/server/*.test.ts',
      'test/e2e/{deadlines,doctor,renamed-commands}.e2e.test.ts',
    ],
    provide: { stateServer: 'alone' },
    testTimeout: 60_000,
    hookTimeout: 30_000,
    maxWorkers: 2,
  },
});
