import { runRelay } from '../app.js';
import { LiveSettings } from '../config/live-settings.js';
import { loadSettings } from '../config/load.js';
import { systemChance, systemClock } from '../lib/clock.js';
import type { LogFormat, LogLevel } from '../model/log-settings.js';
import type { CommandAction, FileOption } from './context.js';

export interface RunOptions extends FileOption {
  /** Instead of `log.level`. */
  readonly logLevel?: LogLevel;
  /** Instead of `log.format`. */
  readonly logFormat?: LogFormat;
}

/** Runs the relay until it is stopped. */
export const run: CommandAction<RunOptions> = async (context, options) => {
  const { env, cwd, logOutput, reports, stop } = context;
  const loaded = await loadSettings({ file: options.config, env, cwd });
  const { file } = loaded;
  const { level, format } = loaded.settings.log;
  const settings = {
    ...loaded.settings,
    log: { level: options.logLevel ?? level, format: options.logFormat ?? format },
  };
  const failure = await runRelay(
    {
      settings: new LiveSettings(settings),
      file,
      output: logOutput,
      reports,
      clock: systemClock,
      chance: systemChance,
    },
    stop,
  );
  if (failure === null) return 0;
  // The log holds the reason, unless it is silent or cannot be written.
  logOutput.flush();
  await systemClock.turn();
  if (logOutput.isFailing || settings.log.level === 'silent') throw failure;
  return 1;
};
