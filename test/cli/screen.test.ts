import { describe, expect, it } from 'vitest';
import { fitted } from '../../src/cli/screen.js';
import { cli, Sink, tempFolder } from '../support/cli.js';
import { TEST_SECRET } from '../support/domain.js';

describe('text on standard error', () => {
  it('is wrapped on a terminal, with the rest of a line indented', () => {
    const terminal = new Sink({ isTTY: true, columns: 24 });
    const text = 'relay.yaml: one two three four\n  short\n';
    expect(fitted(terminal, text)).toBe('relay.yaml: one two\n  three four\n  short\n');
    expect(fitted(new Sink(), text)).toBe(text);
  });

  it.each([
    ['check', 'long.yaml'],
    ['run', '-c', 'long.yaml'],
    ['run', '--log-level', 'verbose'],
    ['check', 'no-such-file-in-this-folder.yaml', '-c', 'another-file-in-this-folder.yaml'],
    ['dead', 'list', '--older-than', '2h', '--newer-than', '1h', '-c', 'good.yaml'],
    ['match', 'a-key-with-a-name-that-fills-the-line', '-c', 'good.yaml'],
    ['healthcheck', '-c', 'good.yaml'],
  ])('fits 80 columns: %s %s', async (...argv) => {
    const shop = `endpoints: {shop: {url: "http://127.0.0.1:1/", secrets: [${TEST_SECRET}]}}\n`;
    await using folder = await tempFolder({
      'good.yaml': `${shop}routes: [{name: a, match: "order:{id}:unpaid", to: shop}]\nadmin: {listen: ":1"}\n`,
      'long.yaml': `${shop}routes: [{name: a, match: "order:{id}:unpaid", to: shopping-center}]\n`,
    });
    const { code, stderr } = await cli(argv, { cwd: folder.path, isTTY: true });
    expect(code).toBeGreaterThan(0);
    expect(stderr).not.toBe('');
    expect(stderr.split('\n').filter((line) => line.length > 80)).toEqual([]);
  });
});
