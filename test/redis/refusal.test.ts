import { describe, expect, it } from 'vitest';
import { isRefusal, isUnknownCommand } from '../../src/redis/refusal.js';

const reply = (text: string) => Object.assign(new Error(text), { name: 'ReplyError' });

describe('a server refuses a command', () => {
  it.each([
    "ERR unknown command 'ROLE', with args beginning with: ",
    "ERR unknown subcommand 'NO-TOUCH'. Try CLIENT HELP.",
    "NOPERM this user has no permissions to run the 'time' command",
    'ERR command not allowed',
    "ERR Command is not available: 'CONFIG'",
    "ERR command 'role' not support for normal user",
    'ERR CONFIG is disabled',
    'ERR operation not permitted',
    'ERR illegal command',
    'ERR This instance has cluster support disabled',
  ])('when it answers: %s', (text) => {
    expect(isRefusal(reply(text))).toBe(true);
  });

  it.each([
    'LOADING Redis is loading the dataset in memory',
    'BUSY Redis is busy running a script',
    'NOAUTH Authentication required.',
    "READONLY You can't write against a read only replica.",
    'MASTERDOWN Link with MASTER is down',
    'MOVED 1 127.0.0.1:1',
    'CLUSTERDOWN Hash slot not served',
    'OOM command not allowed when used memory > maxmemory',
  ])('unless it answers with its condition: %s', (text) => {
    expect(isRefusal(reply(text))).toBe(false);
  });

  it('unless there was no reply at all', () => {
    expect(isRefusal(new Error('Connection is closed.'))).toBe(false);
  });
});

it.each([
  ["ERR unknown command 'ROLE', with args beginning with: ", true],
  ['ERR Unknown Redis command called from script script: 34041, on @user_script:1.', true],
  ['ERR Unknown command called from script script: 34041', true],
  ["NOPERM this user has no permissions to run the 'time' command", false],
])('whether a command is missing: %s', (text, is) => {
  expect(isUnknownCommand(reply(text))).toBe(is);
});
