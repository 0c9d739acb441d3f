/** `npm run bench -- NAME [N]`: each bench prints what it measured, both sides in one run. */
import { drain } from './drain.mjs';
import { lateness } from './lateness.mjs';
import { waiting } from './waiting.mjs';

/** @type {Readonly<Record<string, () => Promise<void>>>} */
const BENCHES = { drain, lateness, waiting };

const bench = BENCHES[process.argv[2] ?? ''];
if (bench === undefined) {
  process.stderr.write(`bench: expected one of: ${Object.keys(BENCHES).join(', ')}\n`);
  process.exit(2);
}
await bench();
