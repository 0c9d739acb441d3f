import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { tempFolder } from './cli.js';

/** The output of an ES module in a separate process. */
export async function runScript(text: string, env: Record<string, string>): Promise<string> {
  await using folder = await tempFolder({ 'script.mjs': text });
  const file = join(folder.path, 'script.mjs');
  return (await promisify(execFile)(process.execPath, [file], { env })).stdout;
}
