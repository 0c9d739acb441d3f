/**
 * Returns a function that formats milliseconds since the Unix epoch as `2026-11-22T06:00:10.000Z`, and keeps the last
 * result: the times of a burst are mostly the same.
 */
export function isoTimes(): (timeMs: number) => string {
  let lastMs = Number.NaN;
  let lastText = '';
  return (timeMs) => {
    if (timeMs !== lastMs) {
      lastText = new Date(timeMs).toISOString();
      lastMs = timeMs;
    }
    return lastText;
  };
}
