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

  it('names the number of other keys beside a figure, and the place of 0', () => {
    expect(chart).toContain('>22 s beside 10,000 keys<');
    expect(chart).toContain('0 is drawn at 10.');
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

describe('the figures in README.md', () => {
  const readme = read('README.md').replaceAll(/\s+/g, ' ');

  it('are the medians in docs/lateness.json, and the law', () => {
    const medians = figures.relay.map(({ p50Ms }: { p50Ms: number }) => Math.round(p50Ms));
    expect(readme).toContain(
      `the median delay of webhooks was ${Math.min(...medians)} to ${Math.max(...medians)} ms`,
    );
    const { otherKeys, p50Ms } = figures.subscriber.at(-1);
    expect(readme).toContain(`was ${Math.round(p50Ms / 1_000)} s (measured)`);
    expect(readme).toContain(`${lawAt(otherKeys).p50Ms / 1_000} s on average (computed)`);
  });

  it('include the highest 99th percentile of the relay in every bench of lateness', () => {
    const [, section = ''] = read('docs/benchmarks.md').split('\n## lateness\n');
    const [table = ''] = section.split('\n## ');
    const inTable = [...table.matchAll(/^\| [\d,]+ \| p50 \S+, p99 (\S+) ms/gm)];
    expect(inTable).toHaveLength(4);
    const highest = Math.max(
      ...inTable.map(([, ms]) => Number(ms)),
      ...figures.relay.map(({ p99Ms }: { p99Ms: number }) => p99Ms),
    );
    expect(readme).toContain(`99 % arrived within ${Math.ceil(highest)} ms`);
  });
});
