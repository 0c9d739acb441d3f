import { describe, expect, it } from 'vitest';
import { Hangups } from '../../src/lib/hangups.js';

function someHangups() {
  const happened: string[] = [];
  const hangups = new Hangups(() => happened.push('stop'));
  return { hangups, happened, reload: () => happened.push('reload') };
}

describe('a SIGHUP', () => {
  it('before the command is known is held for the one that reloads', () => {
    const { hangups, happened, reload } = someHangups();
    hangups.notify();
    hangups.notify();
    expect(happened).toEqual([]);
    hangups.listen(reload);
    expect(happened).toEqual(['reload']);
    hangups.notify();
    expect(happened).toEqual(['reload', 'reload']);
  });

  it('stops every other command, also if it came before the command was known', () => {
    const { hangups, happened } = someHangups();
    hangups.notify();
    hangups.listenForStop();
    expect(happened).toEqual(['stop']);
  });
});
