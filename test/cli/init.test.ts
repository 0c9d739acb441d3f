import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { cli, tempFolder } from '../support/cli.js';
import { TEST_SECRET } from '../support/domain.js';

describe('init', () => {
  it('creates a file that is valid once its variable is set, without warnings', async () => {
    await using folder = await tempFolder({});
    const at = { cwd: folder.path };
    const { code, stdout } = await cli(['init'], at);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^relay\.yaml: created\n/);
    const [, variable = ''] = /export (\w+)=/.exec(stdout) ?? [];
    const env = { [variable]: TEST_SECRET };
    expect(await cli(['check', '--strict'], { ...at, env })).toEqual({
      code: 0,
      stdout: 'relay.yaml: valid (1 route, 1 endpoint)\n',
      stderr: '',
    });
    for (const [, argv = ''] of stdout.matchAll(/: +expiry-relay (match .*)$/gm)) {
      const words = argv.replace('KEY', 'order:42:unpaid').split(' ');
      expect((await cli(words, { ...at, env })).code).toBe(0);
    }
  });

  it('takes the addresses and the pattern, and another name', async () => {
    await using folder = await tempFolder({});
    const at = { cwd: folder.path };
    const options = [
      '--redis',
      'rediss://cache:6380/2',
      '--url',
      'https://shop/x',
      '--match',
      '*: {',
    ];
    expect((await cli(['init', 'a.yaml', ...options], at)).code).toBe(2);
    options[5] = "session:*#'";
    const { stdout } = await cli(['init', 'a.yaml', ...options], at);
    expect(stdout).toContain('expiry-relay check -c a.yaml\n');
    const checked = await cli(['check', '--no-env', 'a.yaml'], at);
    expect(checked).toMatchObject({ code: 0, stderr: '' });
    const text = await readFile(join(folder.path, 'a.yaml'), 'utf8');
    for (const option of [options[1], options[3]]) expect(text).toContain(option);
  });

  it('overwrites nothing', async () => {
    await using folder = await tempFolder({ 'relay.yaml': 'mine' });
    const { code, stdout, stderr } = await cli(['init'], { cwd: folder.path });
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
    expect(stderr).toBe(
      'relay.yaml: already exists. To create another file, run: expiry-relay init FILE\n',
    );
    expect(await readFile(join(folder.path, 'relay.yaml'), 'utf8')).toBe('mine');
  });

  it('does not create a directory', async () => {
    await using folder = await tempFolder({});
    const { code, stderr } = await cli(['init', 'etc/relay.yaml'], { cwd: folder.path });
    expect(code).toBe(1);
    expect(stderr).toBe('etc/relay.yaml: cannot be written: its directory does not exist\n');
  });

  it.each([
    [['--redis', 'cache:6379'], '--redis: expected a Redis URL'],
    [['--url', 'shop'], '--url: expected a URL'],
    [['--match', 'order:{'], '--match: expected a glob pattern'],
  ])('refuses %j', async (words, message) => {
    await using folder = await tempFolder({});
    const { code, stderr } = await cli(['init', ...words], { cwd: folder.path });
    expect(code).toBe(2);
    expect(stderr).toContain(message);
  });
});
