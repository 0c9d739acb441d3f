import { runRelay } from '../app.js';
import { systemChance, systemClock } from '../clock.js';
import { loadSettings } from '../config/load.js';
import { createLog } from '../log.js';
import type { CommandAction, FileOption } from './context.js';

/** The relay itself, until it is told to stop. */
export const run: CommandAction<FileOption> = async ({ env, cwd, stop }, { config }) => {
  const { file, settings } = await loadSettings({ file: config, env, cwd });
  const log = createLog(settings.log);
  await runRelay({ settings, file, log, clock: systemClock, chance: systemChance }, stop);
  return 0;
};
