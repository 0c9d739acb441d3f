/** Steps of a check that is no unit test: each one line, details only when it fails. */
import { execFile } from 'node:child_process';

/** A download on a slow line. */
const COMMAND_MS_MAX = 300_000;
/** npm and a survey of an image say more than the default when they fail. */
const OUTPUT_BYTES_MAX = 64 * 1024 * 1024;
/** Shown when a step fails; the reason is in the last lines. */
const DETAIL_LINES_MAX = 40;

/**
 * @typedef {{ code: number | null, stdout: string, stderr: string }} Ended code: null when it could
 *   not run, or took too long
 */

const count = { passed: 0, failed: 0 };

/** @param {string} line */
export function say(line) {
  process.stdout.write(`${line}\n`);
}

/**
 * @param {string} name what is true when it passes
 * @param {() => unknown} check throws when it is not; a text that it returns is shown
 * @returns {Promise<boolean>} whether it passed
 */
export async function step(name, check) {
  try {
    const found = await check();
    say(`✓ ${name}${typeof found === 'string' ? ` (${found})` : ''}`);
    count.passed += 1;
    return true;
  } catch (error) {
    const lines = (error instanceof Error ? error.message : String(error)).trimEnd().split('\n');
    say(`✗ ${name}`);
    for (const line of lines.slice(-DETAIL_LINES_MAX)) say(`    ${line}`);
    count.failed += 1;
    return false;
  }
}

/** The last line; the exit code tells whether any step failed. */
export function summarize() {
  say(`${count.passed} passed, ${count.failed} failed`);
  if (count.failed > 0) process.exitCode = 1;
}

/**
 * @param {string} command
 * @param {readonly string[]} args
 * @param {{ cwd?: string, limitMs?: number, env?: NodeJS.ProcessEnv }} [options]
 * @returns {Promise<Ended>}
 */
export function run(command, args, { cwd, limitMs = COMMAND_MS_MAX, env = process.env } = {}) {
  const options = { cwd, env, timeout: limitMs, maxBuffer: OUTPUT_BYTES_MAX };
  return new Promise((resolve) => {
    execFile(command, args, options, (error, stdout, stderr) => {
      if (error === null) resolve({ code: 0, stdout, stderr });
      else if (typeof error.code === 'number') resolve({ code: error.code, stdout, stderr });
      else resolve({ code: null, stdout, stderr: `${stderr}${error.message}\n` });
    });
  });
}

/**
 * A command that must succeed; returns its standard output.
 * @param {string} command
 * @param {readonly string[]} args
 * @param {{ cwd?: string, limitMs?: number, env?: NodeJS.ProcessEnv }} [options]
 */
export async function succeed(command, args, options) {
  const { code, stdout, stderr } = await run(command, args, options);
  if (code === 0) return stdout;
  throw new Error(`${command} ${args[0]}: expected exit code 0, found ${code}\n${stdout}${stderr}`);
}
