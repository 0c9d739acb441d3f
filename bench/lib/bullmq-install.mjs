import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const BENCH = fileURLToPath(new URL('..', import.meta.url));

/**
 * * BullMQ, for comparison with the relay: installed by the first bench that needs it.
 * @returns {any}
 */
export function requireBullMq() {
  if (!existsSync(join(BENCH, 'node_modules/bullmq'))) {
    execFileSync('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund'], {
      cwd: BENCH,
      stdio: ['ignore', 'ignore', 'inherit'],
    });
  }
  return createRequire(import.meta.url)('bullmq');
}
