import { describe, expect, it } from 'vitest';
import { missingFlags } from '../../src/source/notifications.js';

describe('missingFlags', () => {
  it.each([
    ['', 'Ex'],
    ['E', 'x'],
    ['x', 'E'],
    ['xE', ''],
    ['KEx', ''],
    ['AE', ''],
    ['AK', 'E'],
    ['A', 'E'],
    ['Kg$', 'Ex'],
  ])('"%s" lacks "%s"', (setting, missing) => {
    expect(missingFlags(setting)).toBe(missing);
  });

  it('does not take A for the classes that it leaves out', () => {
    expect(missingFlags('AE', 'Em')).toBe('m');
  });
});
