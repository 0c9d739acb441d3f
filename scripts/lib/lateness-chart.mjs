/** Draws docs/lateness.svg: the lateness of webhooks beside other keys with a TTL. Pure. */

/**
 * @typedef {object} Point
 * @property {number} otherKeys with a TTL
 * @property {number} p50Ms
 * @property {number} p99Ms
 *
 * @typedef {object} Figures
 * @property {string} command that measured them
 * @property {string} machine
 * @property {readonly Point[]} relay
 * @property {readonly Point[]} subscriber
 */

/** The active expire cycle of Redis by default: 20 keys with a TTL, 10 times a second. */
const KEYS_PER_SECOND = 20 * 10;

/** The sizes at which the law is drawn, above the last one at which the subscriber was measured. */
const LAW_SIZES = [100_000, 1_000_000];

/**
 * The law of Redis's active expire cycle: the delay is uniform between zero and one round through all keys.
 * @param {number} otherKeys
 * @returns {Point}
 */
export function lawAt(otherKeys) {
  const roundMs = (otherKeys / KEYS_PER_SECOND) * 1_000;
  return { otherKeys, p50Ms: roundMs * 0.5, p99Ms: roundMs * 0.99 };
}

const WIDTH = 800;
const HEIGHT = 440;
const PLOT = { left: 76, right: 640, top: 74, bottom: 374 };

/** Each with its label; from a millisecond to beyond the longest delay of the law. */
const TIMES = /** @type {const} */ ([
  [1, '1 ms'],
  [10, '10 ms'],
  [100, '100 ms'],
  [1_000, '1 s'],
  [10_000, '10 s'],
  [60_000, '1 min'],
  [600_000, '10 min'],
  [3_600_000, '1 h'],
]);
const MS_MAX = 7_200_000;

/** A logarithmic scale has no 0: it is drawn at 10. */
const SIZES = /** @type {const} */ ([
  [0, '0'],
  [100, '100'],
  [1_000, '1,000'],
  [10_000, '10,000'],
  [100_000, '100,000'],
  [1_000_000, '1,000,000'],
]);
const PLACE_OF_ZERO = 10;

/** @param {number} share of the plot @param {number} from @param {number} to */
const between = (share, from, to) => Number((from + share * (to - from)).toFixed(1));

/** @param {number} keys */
function xOf(keys) {
  const decades = Math.log10(Math.max(keys, PLACE_OF_ZERO) / PLACE_OF_ZERO);
  return between(decades / Math.log10(1_000_000 / PLACE_OF_ZERO), PLOT.left, PLOT.right);
}

/** @param {number} ms */
const yOf = (ms) => between(Math.log10(ms) / Math.log10(MS_MAX), PLOT.bottom, PLOT.top);

/** Between two lines of the grid, below the law. */
const NOTE = { x: xOf(10_000) + 50, y: yOf(5_000) };

/** @param {readonly Point[]} points */
const medianOf = (points) =>
  points.map(({ otherKeys, p50Ms }) => `${xOf(otherKeys)},${yOf(p50Ms)}`).join(' ');

/**
 * From the median to the 99th percentile.
 * @param {readonly Point[]} points
 */
function bandOf(points) {
  const back = points.toReversed();
  const top = back.map(({ otherKeys, p99Ms }) => `${xOf(otherKeys)},${yOf(p99Ms)}`).join(' ');
  return `${medianOf(points)} ${top}`;
}

/**
 * @param {string} kind `relay`, `subscriber` or `law`
 * @param {readonly Point[]} points
 */
function series(kind, points) {
  const dots = points.map(
    ({ otherKeys, p50Ms }) => `<circle cx="${xOf(otherKeys)}" cy="${yOf(p50Ms)}" r="3.5"/>`,
  );
  return [
    `<g class="${kind}">`,
    `<polygon points="${bandOf(points)}"/>`,
    `<polyline points="${medianOf(points)}"/>`,
    ...(kind === 'law' ? [] : dots),
    '</g>',
  ];
}

/** @param {number} x @param {number} y @param {string} text @param {string} [attributes] */
const label = (x, y, text, attributes = '') =>
  `<text x="${x}" y="${y}"${attributes && ` ${attributes}`}>${text}</text>`;

/** Its own background keeps it legible on pages of either theme. */
const STYLE = `
.page { fill: #ffffff; stroke: #d0d7de }
text { fill: #1f2328; font: 13px system-ui, -apple-system, "Segoe UI", Helvetica, Arial, sans-serif }
.title { font-size: 16px; font-weight: 600 }
.quiet { fill: #59636e }
.grid { stroke: #d0d7de; stroke-width: 1 }
polyline { fill: none; stroke-width: 2.5 }
polygon { opacity: 0.16 }
.relay polyline { stroke: #0969da } .relay polygon, .relay circle, text.relay { fill: #0969da }
.subscriber polyline, .law polyline { stroke: #bc4c00 }
.subscriber polygon, .subscriber circle, .law polygon, text.subscriber { fill: #bc4c00 }
.law polyline { stroke-dasharray: 7 5 }
@media (prefers-color-scheme: dark) {
  .page { fill: #0d1117; stroke: #3d444d }
  text { fill: #f0f6fc }
  .quiet { fill: #9198a1 }
  .grid { stroke: #3d444d }
  polygon { opacity: 0.28 }
  .relay polyline { stroke: #4493f8 } .relay polygon, .relay circle, text.relay { fill: #4493f8 }
  .subscriber polyline, .law polyline { stroke: #f0883e }
  .subscriber polygon, .subscriber circle, .law polygon, text.subscriber { fill: #f0883e }
}
`;

/** Rounded, for a label. @param {number} ms */
function timeText(ms) {
  if (ms < 1_000) return `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`;
  if (ms < 60_000) return `${Math.round(ms / 1_000)} s`;
  return `${Math.round(ms / 60_000)} min`;
}

/** A median, with its number of other keys. @param {Point} point */
const withKeys = ({ otherKeys, p50Ms }) =>
  `${timeText(p50Ms)} beside ${otherKeys.toLocaleString('en-US')} keys`;

/**
 * @param {Figures} figures
 * @returns {string} the text of the SVG file
 */
export function drawLateness({ relay, subscriber }) {
  const [lastRelay, lastMeasured] = [relay.at(-1), subscriber.at(-1)];
  if (lastRelay === undefined || lastMeasured === undefined) throw new Error('expected figures');
  const law = [lawAt(lastMeasured.otherKeys), ...LAW_SIZES.map(lawAt)];
  const worst = law.at(-1) ?? lastMeasured;
  const description =
    `Beside 1,000,000 other keys with a TTL, the median delay of expiry-relay is ` +
    `${timeText(lastRelay.p50Ms)}. A plain subscriber has a median delay of ` +
    `${timeText(lastMeasured.p50Ms)} beside 10,000 other keys (measured) and of ` +
    `${timeText(worst.p50Ms)} beside 1,000,000 (computed).`;
  const middle = (PLOT.left + PLOT.right) / 2;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${HEIGHT}" ` +
      `viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-labelledby="title description">`,
    '<title id="title">Delay from the deadline of a key to its webhook</title>',
    `<desc id="description">${description}</desc>`,
    `<style>${STYLE}</style>`,
    `<rect class="page" x="0.5" y="0.5" width="${WIDTH - 1}" height="${HEIGHT - 1}" rx="6"/>`,
    label(24, 32, 'Delay from the deadline of a key to its webhook', 'class="title"'),
    label(
      24,
      53,
      'Lines: median. Areas: up to the 99th percentile. Both scales are logarithmic; 0 is drawn at 10.',
      'class="quiet"',
    ),
    ...TIMES.flatMap(([ms, text]) => [
      `<path class="grid" d="M${PLOT.left} ${yOf(ms)}H${PLOT.right}"/>`,
      label(PLOT.left - 10, yOf(ms) + 4, text, 'class="quiet" text-anchor="end"'),
    ]),
    ...SIZES.map(([keys, text]) =>
      label(xOf(keys), PLOT.bottom + 22, text, 'class="quiet" text-anchor="middle"'),
    ),
    label(
      middle,
      PLOT.bottom + 48,
      'Other keys with a TTL in the same Redis',
      'text-anchor="middle"',
    ),
    ...series('subscriber', subscriber),
    ...series('law', law),
    ...series('relay', relay),
    label(PLOT.right + 14, yOf(worst.p50Ms) - 8, 'Plain subscriber,', 'class="subscriber"'),
    label(
      PLOT.right + 14,
      yOf(worst.p50Ms) + 9,
      `computed: ${timeText(worst.p50Ms)}`,
      'class="subscriber"',
    ),
    label(PLOT.right + 14, yOf(lastRelay.p50Ms) - 4, 'expiry-relay,', 'class="relay"'),
    label(
      PLOT.right + 14,
      yOf(lastRelay.p50Ms) + 13,
      `measured: ${timeText(lastRelay.p50Ms)}`,
      'class="relay"',
    ),
    label(
      xOf(lastMeasured.otherKeys) - 12,
      yOf(lastMeasured.p50Ms) - 44,
      'Plain subscriber, measured:',
      'class="subscriber" text-anchor="end"',
    ),
    label(
      xOf(lastMeasured.otherKeys) - 12,
      yOf(lastMeasured.p50Ms) - 27,
      withKeys(lastMeasured),
      'class="subscriber" text-anchor="end"',
    ),
    label(NOTE.x, NOTE.y, "Dashed: computed from Redis's active expiry,", 'class="quiet"'),
    label(NOTE.x, NOTE.y + 17, '20 keys with a TTL, 10 times a second', 'class="quiet"'),
    '</svg>',
    '',
  ].join('\n');
}
