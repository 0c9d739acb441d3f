import { distance } from 'fastest-levenshtein';

/** The comparison takes quadratic time; no valid name is longer. */
const WORD_CHARS_MAX = 64;

/** Edit distance; a swap of adjacent letters counts as one edit. */
function editDistance(word: string, candidate: string): number {
  let least = distance(word, candidate);
  for (let at = 0; at + 1 < word.length; at += 1) {
    const [one = '', next = ''] = [word.charAt(at), word.charAt(at + 1)];
    if (one === next || !candidate.includes(next + one)) continue;
    const swapped = word.slice(0, at) + next + one + word.slice(at + 2);
    least = Math.min(least, 1 + distance(swapped, candidate));
  }
  return least;
}

/** The most similar candidate, or null when none is close. */
export function findNearest(word: string, candidates: Iterable<string>): string | null {
  if (word.length > WORD_CHARS_MAX) return null;
  const editsMax = word.length < 5 ? 1 : Math.max(2, Math.floor(word.length / 4));
  const written = word.toLowerCase();
  let best: { candidate: string; edits: number } | null = null;
  for (const candidate of candidates) {
    const meant = candidate.toLowerCase();
    const edits = editDistance(written, meant);
    // Any single letter is one edit away from any other.
    if (edits > editsMax || (written.length === 1 && meant.length === 1)) continue;
    if (edits < (best?.edits ?? Number.POSITIVE_INFINITY)) best = { candidate, edits };
  }
  return best?.candidate ?? null;
}

/** `did you mean "endpoints"?`, or null when no candidate is close. */
export function didYouMean(word: string, candidates: Iterable<string>): string | null {
  const candidate = findNearest(word, candidates);
  return candidate === null ? null : `did you mean "${candidate}"?`;
}
