import { defineConfig } from 'vitest/config';

/** What runs once more with a node of a Redis Cluster that takes the keys of its own slots alone. */
const ON_CLUSTER = [
  'test/cli/dead.test.ts',
  'test/deadlines/redis-deadlines.test.ts',
  'test/outbox/{faults,presence,redis-outbox,upkeep,waits}.test.ts',
];

// biome-ignore lint/style/noDefaultExport: vitest reads the default export
export default defineConfig({
  test: {
    // Tests wait for conditions, and say by themselves when one does not come.
    testTimeout: 60_000,
    hookTimeout: 30_000,
    fileParallelism: true,
    maxWorkers: 3,
    projects: [
      {
        extends: true,
        test: {
          name: 'alone',
          include: ['test/**/*.test.ts'],
          provide: { stateServer: 'alone' },
        },
      },
      {
        extends: true,
        test: { name: 'cluster', include: ON_CLUSTER, provide: { stateServer: 'cluster_node' } },
      },
    ],
  },
});
