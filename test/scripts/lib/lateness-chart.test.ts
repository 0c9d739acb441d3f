import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { drawLateness, lawAt } from '../../../scripts/lib/lateness-chart.mjs';
import { worstLagMs } from '../../../src/doctor/lateness.js';

const ROOT = fileURLToPath(new URL('../../..', import.meta.url));
const read = (path: string) => readFileSync(`${ROOT}${path}`, 'utf8');

const figures = JSON.parse(read('docs/lateness.json'));
const chart = drawLateness(figures);

describe('docs/lateness.svg', () => {
  it('equals the output of `npm run chart` for docs/lateness.json', () => {
    expect(read('docs/lateness.svg')).toBe(chart);
  });

  it('has a title and a description, and loads nothing', () => {
    expect(chart).toMatch(/<title id="title">.+<\/title>/);
    expect(chart).toMatch(/<desc id="description">.+<\/desc>/);
    expect(chart.replace('xmlns="http://www.w3.org/2000/svg"', '')).not.toMatch(
      /https?:|href|url\(/,
    );
  });

  it('draws every figure within the page', () => {
    const corners = [...chart.matchAll(/points="([^"]*)"/g)]
      .flatMap(([, points = '']) => points.split(' '))
      .map((corner) => corner.split(',').map(Number));
    expect(corners.length).toBeGreaterThan(30);
    expect(corners.filter(([x = -1, y = -1]) => !(x > 0 && x < 800 && y > 0 && y < 440))).toEqual(
      [],
    );
  });

  it('dashes only the law', () => {
    expect(chart.match(/stroke-dasharray/g)).toHaveLength(1);
    expect(chart).toContain('.law polyline { stroke-dasharray');
    const law = /<g class="law">\s*<polygon points="[^"]*"\/>\s*<polyline points="([^"]*)"/.exec(
      chart,
    );
    expect(law?.[1]?.split(' ')).toHaveLength(3);
  });
});

describe('docs/lateness.json', () => {
  const sizesOf = (points: readonly { otherKeys: number }[]) => points.map((p) => p.otherKeys);

  it('has the relay up to a million keys, and a plain subscriber up to 10,000', () => {
    expect(sizesOf(figures.relay)).toEqual([0, 100, 1_000, 10_000, 100_000, 1_000_000]);
    expect(sizesOf(figures.subscriber)).toEqual([0, 100, 1_000, 10_000]);
  });

  it('names the command that measured it, which is a bench', () => {
    expect(figures.command).toMatch(/^npm run bench -- chart \d+ \d+$/);
    expect(read('bench/main.mjs')).toContain("'./chart.bench.mjs'");
    expect(figures.machine).toMatch(/^\d+ cores, Node\.js \S+, Redis \S+$/);
  });
});

it('the law equals the estimate of `doctor` for a server with default settings', () => {
  const cycle = { hz: 10, effort: 1 };
  expect(lawAt(1_000_000)).toEqual({ otherKeys: 1_000_000, p50Ms: 2_500_000, p99Ms: 4_950_000 });
  expect(lawAt(20_000).p50Ms).toBe(worstLagMs(20_000, cycle) / 2);
});
