/**
 * @param {readonly number[]} values
 * @param {number} share 0 to 1
 */
export function percentile(values, share) {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)] ?? Number.NaN;
}

/** @param {readonly number[]} values */
export const median = (values) => percentile(values, 0.5);

/** As `p50 1.2 ms, p99 3.4 ms, max 5.6 ms`. @param {readonly number[]} valuesMs */
export function summaryMs(valuesMs) {
  if (valuesMs.length === 0) return 'none';
  const at = (/** @type {number} */ share) => {
    const value = percentile(valuesMs, share);
    return `${value < 100 ? value.toFixed(1) : Math.round(value)} ms`;
  };
  return `p50 ${at(0.5)}, p99 ${at(0.99)}, max ${at(1)}`;
}
