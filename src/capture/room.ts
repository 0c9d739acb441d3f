/** How much may wait in the lanes: the source never waits, and the process must not grow without bound. */
import type { Lane } from './lane.js';
import type { Noted } from './lives.js';

/**
 * A second of a fast server's expirations, some 50 MB; beyond it the index is what is relied on. Notices
 * have as much room of their own: without them the index is not true.
 */
const QUEUED_MAX = 50_000;

/** The keys of these, together. */
const QUEUED_BYTES_MAX = 16 * 1024 * 1024;

/** Whether the lanes, which share their room, have some for this key. */
export function haveRoomFor(
  key: Buffer,
  lanes: readonly Pick<Lane<Noted>, 'size' | 'bytes'>[],
): boolean {
  let count = 0;
  let bytes = key.length;
  for (const lane of lanes) {
    count += lane.size;
    bytes += lane.bytes;
  }
  return count < QUEUED_MAX && bytes <= QUEUED_BYTES_MAX;
}
