import { loadSettings } from '../config/load.js';
import { systemClock } from '../lib/clock.js';
import type { CommandAction, FileOption } from './context.js';
import {
  headline,
  type KeyOptions,
  type Planned,
  plan,
  requestText,
  warnTooLarge,
} from './planned.js';

export type MatchOptions = FileOption & KeyOptions;

/** Prints the routes that match a key, and the requests they would send; exit code 1 without a match. */
export const match: CommandAction<MatchOptions> = async (context, options) => {
  const { env, cwd, stdout } = context;
  const { settings } = await loadSettings({ file: options.config, env, cwd });
  const { planned, tooLarge } = plan(settings, options, false);
  const nowMs = systemClock.nowMs();
  stdout.write(planned.map((each) => describe(each, nowMs)).join('\n'));
  warnTooLarge(context, tooLarge);
  return tooLarge.length === 0 ? 0 : 1;
};

function describe(planned: Planned, nowMs: number): string {
  const { line, request } = requestText(planned, nowMs);
  const headers = Object.entries(request.headers).map(([name, value]) => `  ${name}: ${value}\n`);
  const body = planned.delivery.contentType === null ? '(no body)' : request.body.toString();
  return `${headline(planned)}\n  ${line}\n${headers.join('')}\n  ${body}\n`;
}
