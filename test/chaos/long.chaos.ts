/** The test of test/e2e/chaos.e2e.test.ts with a given duration: see scripts/test-chaos.mjs. */
import { expect, it } from 'vitest';
import { CLUSTER_DECK, LONG_DECK, nameOf, SENTINEL_DECK } from '../support/chaos/actions.js';
import type { Topology } from '../support/chaos/deployment.js';
import { runChaos } from '../support/chaos/run.js';

const seed = Number(process.env.CHAOS_SEED);
const durationMsMin = Number(process.env.CHAOS_MINUTES) * 60_000;
const topology = process.env.CHAOS_TOPOLOGY as Topology;
const DECKS = {
  single: LONG_DECK,
  sentinel: SENTINEL_DECK,
  cluster: CLUSTER_DECK,
} satisfies Record<Topology, unknown>;
const deck = DECKS[topology].filter((action) =>
  nameOf(action).includes(process.env.CHAOS_ONLY ?? ''),
);

/** A whole deck, the last deadlines, and the replicas coming to rest. */
const MORE_MS_MAX = 10 * 60_000;

it(
  `three replicas keep their promises through chaos, ${topology}, seed ${seed}`,
  async () => {
    expect(deck, 'actions of that name').not.toEqual([]);
    const { violations } = await runChaos({
      seed,
      topology,
      deck,
      durationMsMin,
      calmMsMax: 4_000,
      keysPerS: 150,
      lifeMsMax: 12_000,
      say: (line) => void process.stderr.write(`${line}\n`),
    });
    expect(violations.map(({ kind, key }) => `${kind}: ${key}`)).toEqual([]);
  },
  durationMsMin + MORE_MS_MAX,
);
