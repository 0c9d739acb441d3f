/** Builds docs/reference/cli.md from the help of each command. */
import type { Command } from 'commander';
import { EXIT_CODES, NEGATIVE_RESULTS } from '../../../src/cli/exit-codes.js';
import { createProgram } from '../../../src/cli/program.js';
import { cli, contextFor } from '../cli.js';
import { code, page, plain, table } from './page.js';

const INTRODUCTION = `Every command of \`expiry-relay\`, as its \`--help\` describes it. Commands with \`--json\` print a
[documented shape](../json-output.md).`;

const NEGATIVE_TEXT =
  'These commands also return 1 if they have done their work, but its result is negative:';

const program = createProgram(contextFor([]).context, () => undefined);

/** The commands that do something, in the order of the help; a group such as \`dead\` has none of its own. */
function actionsOf(
  command: Command,
  words: readonly string[] = [],
): readonly (readonly [string, Command])[] {
  if (command.commands.length === 0) return [[words.join(' '), command]];
  return command.commands.flatMap((one) => actionsOf(one, [...words, one.name()]));
}

/** The whole page. */
export async function cliReference(): Promise<string> {
  const actions = actionsOf(program);
  const overview = actions.map(([words, command]) => [
    `[${code(words)}](#${words.replaceAll(' ', '-')})`,
    plain(command.description()),
  ]);
  const sections = actions.map(async ([words]) => {
    const { stdout } = await cli([...words.split(' '), '--help']);
    return `## ${code(words)}\n\n\`\`\`text\n${stdout.trimEnd()}\n\`\`\``;
  });
  const codes = Object.entries(EXIT_CODES).map(([number, text]) => [number, plain(text)]);
  const negative = Object.entries(NEGATIVE_RESULTS).map(([words, text]) => [
    code(words),
    plain(text),
  ]);
  return page(
    'Command line',
    INTRODUCTION,
    table(['command', 'description'], overview),
    ...(await Promise.all(sections)),
    '## Exit codes',
    'Every command returns one of these codes:',
    table(['code', 'meaning'], codes),
    NEGATIVE_TEXT,
    table(['command', '1 if'], negative),
  );
}
