/** The completion scripts in zsh and fish, which unit tests do not start. */
import { execFileSync } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { cli, tempFolder } from '../support/cli.js';
import { missing } from '../support/examples/program.js';

/** Each loads the script and prints the completions; its arguments are the script, the line and its words. */
const PROGRAMS = {
  zsh: `script=$1; shift 2; source $script
    COMP_WORDS=(expiry-relay "$@"); COMP_CWORD=$#
    compgen -F _expiry_relay -- "\${@[$#]}"`,
  fish: 'source $argv[1]; complete -C $argv[2]',
} as const;

type Shell = keyof typeof PROGRAMS;

/** The words that a shell offers for the last one, without their descriptions. */
async function offered(shell: Shell, words: readonly string[]): Promise<readonly string[]> {
  await using folder = await tempFolder({});
  const script = join(folder.path, 'completion');
  await writeFile(script, (await cli(['completion', shell])).stdout);
  const line = ['expiry-relay', ...words].join(' ');
  const own = shell === 'zsh' ? ['-f', '-c', PROGRAMS.zsh, 'zsh'] : ['-c', PROGRAMS.fish];
  const output = execFileSync(shell, [...own, script, line, ...words], {
    encoding: 'utf8',
    env: { ...process.env, HOME: folder.path },
  });
  const found = output.split('\n').flatMap((row) => row.split('\t')[0] || []);
  // zsh itself leaves out the others; its compgen does not.
  return found.filter((word) => word.startsWith(words.at(-1) ?? ''));
}

describe.each(Object.keys(PROGRAMS) as Shell[])('completion in %s', (shell) => {
  it.skipIf(missing.has(shell)).each([
    [['d'], ['dead', 'doctor']],
    [
      ['dead', ''],
      ['drop', 'list', 'replay', 'show'],
    ],
    [['dead', 'list', '--e'], ['--endpoint']],
    [['dead', 'show', '--b'], ['--body']],
    [
      ['run', '--log-level', ''],
      ['debug', 'error', 'fatal', 'info', 'silent', 'trace', 'warn'],
    ],
    [
      ['completion', ''],
      ['bash', 'fish', 'zsh'],
    ],
  ])('of %j offers %j', async (words, expected) => {
    expect([...(await offered(shell, words))].sort()).toEqual(expected);
  });
});
