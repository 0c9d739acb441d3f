/** Draws docs/lateness.svg from the figures in docs/lateness.json, which `npm run bench -- chart` measures. */
import { readFileSync, writeFileSync } from 'node:fs';
import { drawLateness } from './lib/lateness-chart.mjs';

const FIGURES = new URL('../docs/lateness.json', import.meta.url);
const CHART = new URL('../docs/lateness.svg', import.meta.url);

writeFileSync(CHART, drawLateness(JSON.parse(readFileSync(FIGURES, 'utf8'))));
