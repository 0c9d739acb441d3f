import { execFileSync } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { cli, tempFolder } from '../support/cli.js';

/** What bash offers for the last word. */
async function offered(...words: string[]): Promise<readonly string[]> {
  await using folder = await tempFolder({});
  const script = join(folder.path, 'completion.bash');
  await writeFile(script, (await cli(['completion', 'bash'])).stdout);
  const test = `source "$0"
    COMP_WORDS=(expiry-relay "$@"); COMP_CWORD=$#
    _expiry_relay
    echo "\${COMPREPLY[*]}"`;
  const output = execFileSync('bash', ['-c', test, script, ...words], { encoding: 'utf8' });
  return output
    .trim()
    .split(' ')
    .filter((word) => word !== '');
}

describe('completion in bash', () => {
  it.each([
    [['d'], ['doctor', 'dead']],
    [
      ['dead', ''],
      ['list', 'show', 'replay', 'drop'],
    ],
    [['dead', 'list', '--e'], ['--endpoint']],
    [['dead', 'show', '--b'], ['--body']],
    [
      ['run', '--log-level', ''],
      ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'],
    ],
    [['check', '--no'], ['--no-env']],
    [
      ['completion', ''],
      ['bash', 'zsh', 'fish'],
    ],
  ])('of %j offers %j', async (words, expected) => {
    expect(await offered(...words)).toEqual(expected);
  });

  it.each([[['check', '']], [['check', '-c', '']], [['dead', 'list', '--endpoint', '']]])(
    'of %j offers files, as there is nothing else',
    async (words) => {
      expect(await offered(...words)).toEqual([]);
      expect((await cli(['completion', 'bash'])).stdout).toContain('complete -o default -F');
    },
  );
});

describe('completion in other shells', () => {
  it('is that of bash in zsh, which loads bashcompinit', async () => {
    const [bash, zsh] = [await cli(['completion', 'bash']), await cli(['completion', 'zsh'])];
    expect(zsh.stdout).toContain('bashcompinit\n');
    expect(zsh.stdout.endsWith(bash.stdout)).toBe(true);
  });

  it('is a line for each command and option in fish', async () => {
    const { code, stdout } = await cli(['completion', 'fish']);
    expect(code).toBe(0);
    expect(stdout).toContain(
      "complete -c expiry-relay -n '__fish_seen_subcommand_from dead; and " +
        "__fish_seen_subcommand_from drop' -l dry-run -d 'change nothing; show how many dead " +
        "letters match'\n",
    );
    expect(stdout).toMatch(/ -l log-format -r -f -a 'auto json pretty' -d /);
    for (const line of stdout.trim().split('\n'))
      expect(line).toMatch(/^complete -c expiry-relay -n '/);
  });

  it('is only for known shells', async () => {
    const { code, stderr } = await cli(['completion', 'cmd']);
    expect(code).toBe(2);
    expect(stderr).toContain('Expected one of bash, zsh, fish');
  });
});
