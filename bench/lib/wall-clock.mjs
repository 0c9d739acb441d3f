/**
 * The machine's wall clock, finer than a millisecond and the same in all processes: what Node says
 * of its own start is up to a millisecond off.
 * @returns {() => number} milliseconds since 1970
 */
export function wallClock() {
  const first = Date.now();
  let tick = first;
  while (tick === first) tick = Date.now();
  const offset = tick - performance.now();
  return () => performance.now() + offset;
}
