import { runRelay } from '../app.js';
import { loadSettings } from '../config/load.js';
import { systemChance, systemClock } from '../lib/clock.js';
import type { CommandAction, FileOption } from './context.js';

/** Runs the relay until it is stopped. */
export const run: CommandAction<FileOption> = async (context, { config }) => {
  const { env, cwd, logOutput, reports, stop } = context;
  const { file, settings } = await loadSettings({ file: config, env, cwd });
  const failure = await runRelay(
    { settings, file, output: logOutput, reports, clock: systemClock, chance: systemChance },
    stop,
  );
  if (failure === null) return 0;
  // The log holds the reason, unless the log cannot be written.
  if (logOutput.isFailing) throw failure;
  return 1;
};
