import { defineConfig } from 'vitest/config';

/** Suites that run once more on a node of a Redis Cluster that serves only the slots of their keys. */
const ON_CLUSTER = [
  'test/cli/dead.test.ts',
  'test/deadlines/redis-deadlines.test.ts',
  'test/outbox/{faults,history,maintenance,presence,redis-outbox,waits}.test.ts',
];

/** Suites whose results depend on the make and version of the server. */
const ON_OTHER_SERVERS = [
  'test/source/past-deadlines.test.ts',
  'test/source/{canary,keyspace,notifications}.test.ts',
  'test/server/*.test.ts',
  'test/e2e/{deadlines,doctor,renamed-commands}.e2e.test.ts',
];

const END_TO_END = 'test/**/*.e2e.test.ts';

/** Suites that start a dozen servers and relays at once: suites that measure lateness must not run beside them. */
const GROUPS_OF_SERVERS = 'test/e2e/{sentinel*,cluster-*}.e2e.test.ts';

// Projects with another number of workers, or with more time, run one after the other.
// biome-ignore lint/style/noDefaultExport: vitest reads the default export
export default defineConfig({
  test: {
    // Tests wait for conditions, and say by themselves when one does not come.
    testTimeout: 60_000,
    hookTimeout: 30_000,
    maxWorkers: 3,
    provide: { stateServer: 'alone' },
    projects: [
      // `npm test` runs these four.
      {
        extends: true,
        test: { name: 'unit', include: ['test/**/*.test.ts'], exclude: [END_TO_END] },
      },
      {
        extends: true,
        test: { name: 'cluster', include: ON_CLUSTER, provide: { stateServer: 'cluster_node' } },
      },
      {
        extends: true,
        test: { name: 'e2e', include: [END_TO_END], exclude: [GROUPS_OF_SERVERS] },
      },
      {
        extends: true,
        test: {
          name: 'sentinel',
          include: [GROUPS_OF_SERVERS],
          maxWorkers: 2,
          sequence: { groupOrder: 5 },
        },
      },
      // Each of the others has a script of its own.
      {
        extends: true,
        test: {
          name: 'servers',
          include: ON_OTHER_SERVERS,
          maxWorkers: 2,
          sequence: { groupOrder: 1 },
        },
      },
      {
        extends: true,
        test: {
          name: 'examples',
          include: ['test/**/*.examples.ts'],
          // A JVM starts and a Go compiler runs beside it.
          hookTimeout: 60_000,
          maxWorkers: 2,
          sequence: { groupOrder: 2 },
        },
      },
      {
        extends: true,
        test: {
          name: 'large',
          include: ['test/large/*.large.ts'],
          testTimeout: 120_000,
          // What is measured is not to wait for another test.
          fileParallelism: false,
          sequence: { groupOrder: 3 },
        },
      },
      {
        extends: true,
        test: {
          name: 'chaos',
          include: ['test/chaos/*.chaos.ts'],
          // What is said is said at once: it takes minutes.
          disableConsoleIntercept: true,
          sequence: { groupOrder: 4 },
        },
      },
    ],
  },
});
