import { describe, expect, it } from 'vitest';
import { unforeseenText } from '../../src/lib/exhaustion.js';

const failure = (code: string, message: string) => Object.assign(new Error(message), { code });

describe('an unexpected error', () => {
  it.each([
    ['EMFILE', /^too many; raise the process's limit of open files \(ulimit -n\)$/],
    ['ENFILE', /^too many; raise the machine's limit of open files \(fs\.file-max\)$/],
    ['ENOMEM', /^too many; give the machine or container more memory$/],
  ])('is named with what to raise where something has run out: %s', (code, text) => {
    expect(unforeseenText(failure(code, 'too many'))).toMatch(text);
  });

  it('is an incomplete installation, or too few open files, if a module is missing', () => {
    const text = unforeseenText(failure('ERR_MODULE_NOT_FOUND', "Cannot find package 'yaml'"));
    expect(text).toMatch(/^internal error: Cannot find package 'yaml'; install .* \(ulimit -n\)$/);
  });

  it.each([new Error('a bug'), 'a bug'])('is an internal error otherwise: %s', (thrown) => {
    expect(unforeseenText(thrown)).toBe('internal error: a bug');
  });
});
