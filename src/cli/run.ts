import { runRelay } from '../app.js';
import { systemChance, systemClock } from '../clock.js';
import { loadSettings } from '../config/load.js';
import type { CommandAction, FileOption } from './context.js';

/** The relay itself, until it is told to stop. */
export const run: CommandAction<FileOption> = async (context, { config }) => {
  const { env, cwd, logOutput, stop } = context;
  const { file, settings } = await loadSettings({ file: config, env, cwd });
  const parts = { settings, file, output: logOutput, clock: systemClock, chance: systemChance };
  await runRelay(parts, stop);
  return 0;
};
