import { describe, expect, it } from 'vitest';
import { sharedBy } from '../support/chaos/machine-stalls.js';

const span = (fromMs: number, toMs: number) => ({ fromMs, toMs });

describe('a gap that no action caused', () => {
  it('exists while no replica listens', () => {
    const lists = [[span(0, 10), span(20, 30)], [span(5, 25)], [span(8, 22), span(24, 40)]];
    expect(sharedBy(lists)).toEqual([span(8, 10), span(20, 22), span(24, 25)]);
  });

  it('does not exist while one listens', () => {
    expect(sharedBy([[span(0, 10)], [span(0, 10)], []])).toEqual([]);
  });
});
