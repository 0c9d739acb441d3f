/** A Docker engine, by its command line. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { run, say, succeed } from './steps.mjs';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
/** For machines without an engine of their own. */
const ENGINE_STARTER = join(ROOT, '../shared/tools/docker-engine');

/** An engine that hangs must not hang the test. */
export const COMMAND_MS_MAX = 60_000;
/** An engine that has to be installed first. */
const ENGINE_START_MS_MAX = 600_000;

/**
 * A Docker command that must succeed; returns its output.
 * @param {readonly string[]} args
 * @param {{ limitMs?: number, env?: NodeJS.ProcessEnv }} [options]
 */
export function docker(args, options) {
  return succeed('docker', args, { cwd: ROOT, limitMs: COMMAND_MS_MAX, ...options });
}

/**
 * * The engine's description of an image or a container.
 * @param {'image' | 'container'} kind
 * @param {string} name
 */
export async function inspect(kind, name) {
  return JSON.parse(await docker([kind, 'inspect', name]))[0];
}

async function engineAnswers() {
  return (await run('docker', ['info'])).code === 0;
}

/** Starts an engine where that is possible. */
export async function haveEngine() {
  if (await engineAnswers()) return true;
  if (existsSync(ENGINE_STARTER)) {
    say('starting a Docker engine');
    const { code, stderr } = await run(ENGINE_STARTER, ['up'], { limitMs: ENGINE_START_MS_MAX });
    if (code !== 0) process.stderr.write(stderr);
  }
  return engineAnswers();
}
