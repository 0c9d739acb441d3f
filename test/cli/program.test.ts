import type { Command } from 'commander';
import { describe, expect, it } from 'vitest';
import { createProgram } from '../../src/cli/program.js';
import { cli, contextFor } from '../support/cli.js';

const COLUMNS_MAX = 80;

const program = createProgram(contextFor([]).context, () => undefined);

function withSubcommands(command: Command): readonly Command[] {
  return [command, ...command.commands.flatMap(withSubcommands)];
}

function wordsOf(command: Command): readonly string[] {
  return command.parent === null ? [] : [...wordsOf(command.parent), command.name()];
}

const commands = withSubcommands(program).map((command) => [wordsOf(command)] as const);

/** The lines below `Examples:`, without the program's name. */
function examplesOf(help: string): readonly string[] {
  const [, text = ''] = help.split('\nExamples:\n');
  return text
    .split('\n')
    .filter((line) => line.startsWith('  expiry-relay '))
    .map((line) => line.replace('  expiry-relay ', ''));
}

/** The command that the words name, and the words behind it. */
function commandIn(
  words: readonly string[],
  from: Command = program,
): { readonly command: Command; readonly rest: readonly string[] } {
  const [name, ...rest] = words;
  const found = from.commands.find((command) => command.name() === name);
  return found === undefined ? { command: from, rest: words } : commandIn(rest, found);
}

describe('the help', () => {
  it.each(commands)('of %j has examples, and fits a terminal of 80 columns', async (words) => {
    const { stdout } = await cli([...words, '--help']);
    expect(examplesOf(stdout).length).toBeGreaterThan(0);
    expect(stdout.split('\n').filter((line) => line.length > COLUMNS_MAX)).toEqual([]);
  });

  it.each(commands)('of %j shows examples whose commands and options exist', async (words) => {
    const { stdout } = await cli([...words, '--help']);
    for (const example of examplesOf(stdout)) {
      const [argv = ''] = example.split(' > ');
      expect(argv.split(' ').slice(0, words.length)).toEqual(words);
      const { command, rest } = commandIn(argv.split(' '));
      expect(command).not.toBe(program);
      expect(command.parseOptions([...rest]).unknown).toEqual([]);
    }
  });
});
