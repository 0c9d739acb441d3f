import { loadSettings } from '../config/load.js';
import { examineEndpoints } from '../doctor/endpoints.js';
import { examineOpenFiles } from '../doctor/open-files.js';
import { examineRedis } from '../doctor/redis.js';
import { examineState } from '../doctor/state.js';
import { systemClock, untilAborted } from '../lib/clock.js';
import { pluralize } from '../lib/pluralize.js';
import { printable } from '../lib/printable.js';
import { countOf, type Finding, findingText, note, ok, summaryText } from '../server/finding.js';
import type { CliContext, CommandAction, FileOption } from './context.js';
import { Printer } from './printer.js';

/** Width of the subject column: `state eviction` and most endpoints fit. */
const SUBJECT_CHARS_MIN = 14;
const SUBJECT_CHARS_MAX = 24;

/**
 * Checks the configuration and everything it refers to; changes nothing. Returns exit code 1 when there is a
 * problem; rejects with every error in the configuration.
 */
export const doctor: CommandAction<FileOption> = async (context, { config }) => {
  const { env, cwd, stop, stdout, stderr } = context;
  const { file, settings } = await loadSettings({ file: config, env, cwd });
  const endpoints = [...settings.endpoints.values()];
  const width = Math.max(
    SUBJECT_CHARS_MIN,
    ...endpoints.map(({ name }) => Math.min(`endpoint ${name}`.length, SUBJECT_CHARS_MAX)),
  );
  const asking = { clock: systemClock, stop };
  const routes = pluralize(settings.routes.length, 'route');
  const counts = `${routes}, ${pluralize(endpoints.length, 'endpoint')}`;
  const sections: readonly Promise<readonly Finding[]>[] = [
    Promise.resolve([
      ok('file', `${printable(file)}: valid (${counts})`),
      note('doctor', 'only reads: nothing is written to Redis, nothing is sent to an endpoint'),
    ]),
    examineOpenFiles(endpoints),
    examineRedis(settings, asking),
    examineState(settings, asking),
    examineEndpoints(endpoints, asking),
  ];
  const findings = await printAll(sections, width, context);
  if (findings === null) {
    stderr.write(`expiry-relay: ended by ${stop.reason} before all was looked at\n`);
    return 1;
  }
  stdout.write(`${summaryText(findings)}\n`);
  if (countOf(findings, 'problem') === 0) return 0;
  const subjects = findings
    .filter(({ level }) => level === 'problem')
    .map(({ subject }) => subject);
  stderr.write(`expiry-relay: problems found: ${[...new Set(subjects)].join(', ')}\n`);
  return 1;
};

/** Prints sections in order, each as soon as it is complete; null after an abort. */
async function printAll(
  sections: readonly Promise<readonly Finding[]>[],
  width: number,
  context: CliContext,
): Promise<readonly Finding[] | null> {
  const printer = new Printer(context);
  const stopped = untilAborted(context.stop).then(() => null);
  const all: Finding[] = [];
  for (const section of sections) {
    const findings = await Promise.race([section, stopped]);
    if (findings === null) return null;
    all.push(...findings);
    await printer.print(findings.map((finding) => findingText(finding, width)).join(''));
  }
  return context.stop.aborted ? null : all;
}
