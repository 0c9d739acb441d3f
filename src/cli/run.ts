import { runRelay } from '../app.js';
import { SettingsSource } from '../config/settings-source.js';
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
  const { env, cwd, logOutput, reports, stop, hangups } = context;
  const source = new SettingsSource({ file: options.config, env, cwd }, (settings) => {
    const { level, format } = settings.log;
    const log = { level: options.logLevel ?? level, format: options.logFormat ?? format };
    return { ...settings, log };
  });
  const loaded = await source.load();
  const failure = await runRelay(
    {
      loaded,
      read: () => source.read(),
      hangups,
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
  if (logOutput.isFailing || loaded.settings.log.level === 'silent') throw failure;
  return 1;
};
