import { describe, expect, it } from 'vitest';
import { judgeOpenFiles } from '../../src/doctor/open-files.js';

const limits = (
  max: string,
) => `Limit                     Soft Limit           Hard Limit           Units
Max processes             63000                63000                processes
Max open files            ${max}                524288               files
`;
const endpoints = [{ concurrency: 100 }, { concurrency: 36 }];

describe('the limit of open files', () => {
  it("is too low when it is below the sum of the endpoints' concurrency and what else is open", () => {
    expect(judgeOpenFiles(endpoints, limits('263'))).toEqual({
      text:
        "at most 263 (ulimit -n), but the endpoints' concurrency adds up to 136, and the relay " +
        'needs about 128 more',
      advice: expect.stringContaining('at least 264'),
    });
    expect(judgeOpenFiles(endpoints, limits('264'))).toBeNull();
  });

  it.each(['', limits('unlimited')])('is no matter where there is none', (text) => {
    expect(judgeOpenFiles(endpoints, text)).toBeNull();
  });
});
