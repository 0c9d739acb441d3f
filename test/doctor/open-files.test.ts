import { describe, expect, it } from 'vitest';
import { judgeOpenFiles, spareFiles } from '../../src/doctor/open-files.js';

const limits = (
  max: string,
) => `Limit                     Soft Limit           Hard Limit           Units
Max processes             63000                63000                processes
Max open files            ${max}                524288               files
`;
const endpoints = [{ concurrency: 100 }, { concurrency: 36 }];

describe('the limit of open files', () => {
  it("is too low when it is below the sum of the endpoints' concurrency and other open files", () => {
    expect(judgeOpenFiles(endpoints, limits('263'))).toEqual({
      text:
        'the limit is 263 (ulimit -n); the concurrency of all endpoints is 136, and the relay ' +
        'needs about 128 more',
      advice: expect.stringContaining('at least 264'),
    });
    expect(judgeOpenFiles(endpoints, limits('264'))).toBeNull();
  });

  it('leaves the admin port the open files that neither endpoints nor other parts need', () => {
    expect(spareFiles(endpoints, limits('1024'))).toBe(1024 - 136 - 128);
    expect(spareFiles(endpoints, limits('256'))).toBeLessThan(0);
    expect(spareFiles(endpoints, limits('unlimited'))).toBe(Number.POSITIVE_INFINITY);
    expect(spareFiles(endpoints, '')).toBe(Number.POSITIVE_INFINITY);
  });

  it.each(['', limits('unlimited')])('is not checked if there is none', (text) => {
    expect(judgeOpenFiles(endpoints, text)).toBeNull();
  });
});
