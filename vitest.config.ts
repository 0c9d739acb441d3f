import { defineConfig } from 'vitest/config';

/** Suites that run once more on a node of a Redis Cluster that serves only the slots of their keys. */
const ON_CLUSTER = [
  'test/cli/dead.test.ts',
  'test/deadlines/redis-deadlines.test.ts',
  'test/outbox/{faults,history,maintenance,presence,redis-outbox,waits}.test.ts',
];

/**
 * Suites whose results depend most on the make and version of the server: its notifications and replies, its scripts
 * and streams, its ACL and missing commands. `.ci/run` runs them on three other servers. On two busy cores they take
 * 90 s on each server, of which the doctor takes 60; the other end-to-end suites take 20 to 90 s each.
 */
const ON_OTHER_SERVERS = [
  'test/source/{canary,channels,keyspace,notifications,past-deadlines}.test.ts',
  'test/server/*.test.ts',
  'test/outbox/{faults,presence,redis-outbox}.test.ts',
  'test/state/{lua,quarantine}.test.ts',
  'test/e2e/{doctor,renamed-commands}.e2e.test.ts',
];

/** Suites that `.ci/nightly` runs there as well, with all end-to-end suites. */
const ON_OTHER_SERVERS_NIGHTLY = [
  'test/{deadlines,doctor,outbox,redis,server,source,state,values}/**/*.test.ts',
  'test/cli/{dead,quarantine}.test.ts',
];

const END_TO_END = 'test/**/*.e2e.test.ts';

/** Suites that measure how late webhooks are: they run alone. */
const LATENESS = 'test/e2e/{deadlines,failing-endpoint,take-over}.e2e.test.ts';

/** Suites that start a dozen servers and relays at once. */
const GROUPS_OF_SERVERS = 'test/e2e/{sentinel*,cluster-*}.e2e.test.ts';

/** Those of them that take minutes, and run every night. */
const GROUPS_OF_SERVERS_NIGHTLY = 'test/e2e/cluster-{failures,moves,valkey}.e2e.test.ts';

// Projects with another number of workers, or with more time, run one after the other.
// biome-ignore lint/style/noDefaultExport: vitest reads the default export
export default defineConfig({
  test: {
    // Tests wait for conditions, and say by themselves when one does not come.
    testTimeout: 60_000,
    hookTimeout: 30_000,
    maxWorkers: 3,
    // A test starts up to three relays, each of which takes a second of CPU.
    maxConcurrency: 3,
    // Suites share the modules of their worker: loading them anew for each suite takes a third of the time.
    isolate: false,
    provide: { stateServer: 'alone' },
    projects: [
      // `npm test` runs these three.
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
        test: { name: 'e2e', include: [END_TO_END], exclude: [LATENESS, GROUPS_OF_SERVERS] },
      },
      // `npm run test:alone` runs these two: what they measure, or start, wants the machine for itself.
      {
        extends: true,
        test: {
          name: 'lateness',
          include: [LATENESS],
          fileParallelism: false,
          sequence: { groupOrder: 1 },
        },
      },
      {
        extends: true,
        test: {
          name: 'topologies',
          include: [GROUPS_OF_SERVERS],
          exclude: [GROUPS_OF_SERVERS_NIGHTLY],
          fileParallelism: false,
          sequence: { groupOrder: 2 },
        },
      },
      {
        extends: true,
        test: {
          name: 'topologies-nightly',
          include: [GROUPS_OF_SERVERS_NIGHTLY],
          fileParallelism: false,
          sequence: { groupOrder: 8 },
        },
      },
      // Each of the others has a script of its own.
      {
        extends: true,
        test: {
          name: 'servers',
          include: ON_OTHER_SERVERS,
          maxWorkers: 2,
          sequence: { groupOrder: 3 },
        },
      },
      {
        extends: true,
        test: {
          name: 'servers-nightly',
          include: [...ON_OTHER_SERVERS_NIGHTLY, END_TO_END],
          exclude: ON_OTHER_SERVERS,
          // Suites that measure lateness are among them.
          fileParallelism: false,
          sequence: { groupOrder: 4 },
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
          sequence: { groupOrder: 5 },
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
          sequence: { groupOrder: 6 },
        },
      },
      {
        extends: true,
        test: {
          name: 'chaos',
          include: ['test/chaos/*.chaos.ts'],
          // What is said is said at once: it takes minutes.
          disableConsoleIntercept: true,
          sequence: { groupOrder: 7 },
        },
      },
    ],
  },
});
