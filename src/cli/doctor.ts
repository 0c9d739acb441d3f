import { loadSettings } from '../config/load.js';
import { examineEndpoints } from '../doctor/endpoints.js';
import { judgeApi } from '../doctor/judge-api.js';
import { examineOpenFiles } from '../doctor/open-files.js';
import { examineRedis } from '../doctor/redis.js';
import { examineState } from '../doctor/state.js';
import { systemClock, untilAborted } from '../lib/clock.js';
import { pluralize } from '../lib/pluralize.js';
import { printable, printableJson } from '../lib/printable.js';
import { Locators, SILENT_LOCATORS } from '../redis/locators.js';
import { countOf, type Finding, ok, summaryText } from '../server/finding.js';
import type { CommandAction, FileOption } from './context.js';
import { findingText } from './finding-text.js';
import { Printer } from './printer.js';
import { screenOf } from './screen.js';

/** Width of the subject column: `state persistence` and most endpoints fit. */
const SUBJECT_CHARS_MIN = 17;
const SUBJECT_CHARS_MAX = 24;

export interface DoctorOptions extends FileOption {
  readonly json?: boolean;
}

/**
 * Checks the configuration and everything it refers to; changes nothing. Returns exit code 1 when there is a
 * problem; rejects with every error in the configuration.
 */
export const doctor: CommandAction<DoctorOptions> = async (context, { config, json }) => {
  const { env, cwd, stop, stderr } = context;
  const { file, settings } = await loadSettings({ file: config, env, cwd });
  const endpoints = [...settings.endpoints.values()];
  const subjectChars = Math.max(
    SUBJECT_CHARS_MIN,
    ...endpoints.map(({ name }) => Math.min(`endpoint ${name}`.length, SUBJECT_CHARS_MAX)),
  );
  const locators = new Locators(systemClock, SILENT_LOCATORS);
  const asking = { clock: systemClock, locators, stop };
  const routes = pluralize(settings.routes.length, 'route');
  const counts = `${routes}, ${pluralize(endpoints.length, 'endpoint')}`;
  const sections: readonly Promise<readonly Finding[]>[] = [
    Promise.resolve([ok('file', `${printable(file)}: valid (${counts})`)]),
    Promise.resolve(judgeApi(settings.admin)),
    examineOpenFiles(endpoints),
    examineRedis(settings, asking),
    examineState(settings, asking),
    examineEndpoints(endpoints, asking),
  ];
  const printer = new Printer(context);
  const screen = screenOf(context);
  const findings = await collect(sections, stop, async (found) => {
    if (json) return;
    await printer.print(found.map((each) => findingText(each, subjectChars, screen)).join(''));
  });
  locators.close();
  if (findings === null) {
    stderr.write(`expiry-relay: interrupted by ${stop.reason}; not everything was checked\n`);
    return 1;
  }
  const problems = countOf(findings, 'problem');
  const summary = { problems, warnings: countOf(findings, 'warning'), findings };
  await printer.print(json ? `${printableJson(summary)}\n` : `${summaryText(findings)}\n`);
  return problems === 0 ? 0 : 1;
};

/** Passes each section on in order, as soon as it is complete; null after an abort. */
async function collect(
  sections: readonly Promise<readonly Finding[]>[],
  stop: AbortSignal,
  show: (findings: readonly Finding[]) => Promise<void>,
): Promise<readonly Finding[] | null> {
  const stopped = untilAborted(stop).then(() => null);
  const all: Finding[] = [];
  for (const section of sections) {
    const findings = await Promise.race([section, stopped]);
    if (findings === null) return null;
    all.push(...findings);
    await show(findings);
  }
  return stop.aborted ? null : all;
}
