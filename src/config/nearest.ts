import { distance } from 'fastest-levenshtein';

/** Comparing costs time in the square of the length; no name of ours is longer. */
const WORD_CHARS_MAX = 64;

/** The candidate that was probably meant, or null when none is near. */
export function nearest(word: string, candidates: Iterable<string>): string | null {
  if (word.length > WORD_CHARS_MAX) return null;
  // Two letters changing places are two slips; in a very short word that would be any other word.
  const distanceMax = word.length < 4 ? 1 : Math.max(2, Math.floor(word.length / 4));
  let best: { candidate: string; distance: number } | null = null;
  for (const candidate of candidates) {
    const apart = distance(word.toLowerCase(), candidate.toLowerCase());
    if (apart <= distanceMax && apart < (best?.distance ?? Number.POSITIVE_INFINITY)) {
      best = { candidate, distance: apart };
    }
  }
  return best?.candidate ?? null;
}

/** `did you mean "endpoints"?`, or null when nothing is near. */
export function didYouMean(word: string, candidates: Iterable<string>): string | null {
  const candidate = nearest(word, candidates);
  return candidate === null ? null : `did you mean "${candidate}"?`;
}
