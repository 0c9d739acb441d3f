/**
 * Chaos for as long as you like: `npm run test:chaos -- --minutes 5 --seed 7`. The seed of a run that
 * failed repeats its choices, though not its timing to the millisecond. `--only "lose replies"` does
 * only what has that in its name, again and again. `--topology sentinel` does it to a primary with two replicas and
 * three sentinels, `--topology cluster` to three primaries with a replica each.
 */
import { spawnSync } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
const VITEST = join(ROOT, 'node_modules/vitest/vitest.mjs');

const USAGE =
  'usage: npm run test:chaos -- [--minutes 5] [--seed 7] [--only NAME] [--topology single|sentinel|cluster]';

const TOPOLOGIES = ['single', 'sentinel', 'cluster'];

/** @returns {{ minutes: number, seed: number, only: string, topology: string } | null} null when it is used in a wrong way */
function optionsOf() {
  try {
    const { values } = parseArgs({
      options: {
        minutes: { type: 'string' },
        seed: { type: 'string' },
        only: { type: 'string', default: '' },
        topology: { type: 'string', default: 'single' },
      },
    });
    const minutes = Number(values.minutes ?? 5);
    const seed = Number(values.seed ?? randomInt(1_000_000));
    const { only, topology } = values;
    const isValid = minutes >= 0 && Number.isSafeInteger(seed) && TOPOLOGIES.includes(topology);
    return isValid ? { minutes, seed, only, topology } : null;
  } catch {
    return null;
  }
}

const options = optionsOf();
if (options === null) {
  process.stderr.write(`${USAGE}\n`);
  process.exitCode = 2;
} else {
  const env = {
    ...process.env,
    CHAOS_MINUTES: String(options.minutes),
    CHAOS_SEED: String(options.seed),
    CHAOS_ONLY: options.only,
    CHAOS_TOPOLOGY: options.topology,
  };
  const args = [VITEST, 'run', '--project', 'chaos'];
  process.exitCode =
    spawnSync(process.execPath, args, { cwd: ROOT, env, stdio: 'inherit' }).status ?? 1;
}
