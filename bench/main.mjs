/** `npm run bench -- NAME [ARGUMENTS]`: each prints what it measured, all sides in one run. */
import { admin } from './admin.bench.mjs';
import { burst } from './burst.bench.mjs';
import { chart } from './chart.bench.mjs';
import { cluster } from './cluster.bench.mjs';
import { commands } from './commands.bench.mjs';
import { distance } from './distance.bench.mjs';
import { drain } from './drain.bench.mjs';
import { flood } from './flood.bench.mjs';
import { hostile } from './hostile.bench.mjs';
import { lateness } from './lateness.bench.mjs';
import { steady } from './steady.bench.mjs';
import { tracked } from './tracked.bench.mjs';
import { waiting } from './waiting.bench.mjs';

/** @type {Readonly<Record<string, (args: readonly string[]) => Promise<void>>>} */
const BENCHES = {
  admin,
  burst,
  chart,
  cluster,
  commands,
  distance,
  drain,
  flood,
  hostile,
  lateness,
  steady,
  tracked,
  waiting,
};

// So that what was started is ended, too; and nobody takes it for a bench that had nothing to say.
for (const signal of /** @type {const} */ (['SIGINT', 'SIGTERM'])) {
  process.once(signal, () => {
    process.stderr.write(`bench: ended by ${signal}, before it was done\n`);
    process.exit(1);
  });
}

const [name = '', ...args] = process.argv.slice(2);
const bench = BENCHES[name];
if (bench === undefined) {
  process.stderr.write(`bench: expected one of: ${Object.keys(BENCHES).join(', ')}\n`);
  process.exit(2);
}
await bench(args);
