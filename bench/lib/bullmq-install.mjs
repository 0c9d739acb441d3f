import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const BENCH = fileURLToPath(new URL('..', import.meta.url));

/**
 * A package that the relay is compared with, and does not need itself: installed when it is asked for
 * the first time.
 * @param {string} name
 * @returns {Promise<any>}
 */
export async function compared(name) {
  if (!existsSync(join(BENCH, 'node_modules', name))) {
    execFileSync('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund'], {
      cwd: BENCH,
      stdio: ['ignore', 'ignore', 'inherit'],
    });
  }
  return createRequire(import.meta.url)(name);
}
