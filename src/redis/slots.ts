/** The hash slots of a Redis Cluster: which keys a primary has. */
import keySlot from 'cluster-key-slot';

export const SLOTS = 16_384;

/** The slots of one primary, as known now. */
export interface Slots {
  /** Whether these are all slots, so that no slot needs to be computed. */
  readonly isAll: boolean;
  /** The first slot; null: none. */
  readonly first: number | null;
  has(slot: number): boolean;
}

/** Of a server that is not one of several primaries. */
export const ALL_SLOTS: Slots = { isAll: true, first: 0, has: () => true };

/** Including both ends. */
export type SlotRange = readonly [from: number, to: number];

export function slotOf(key: Buffer | string): number {
  return keySlot(key);
}

export function isIn(ranges: readonly SlotRange[], slot: number): boolean {
  return ranges.some(([from, to]) => from <= slot && slot <= to);
}

/** Those of the keys that are in these slots. */
export function keysIn<Key extends { readonly key: Buffer }>(
  slots: Slots,
  keys: readonly Key[],
): readonly Key[] {
  return slots.isAll ? keys : keys.filter(({ key }) => slots.has(slotOf(key)));
}

/** The first tag found for each slot so far. */
const tags = new Map<number, string>();
let tried = 0;

/** A hash tag whose keys are in this slot. All replicas find the same one. */
export function tagOf(slot: number): string {
  for (let tag = tags.get(slot); ; tag = tags.get(slot)) {
    if (tag !== undefined) return tag;
    const name = tried.toString(36);
    const found = slotOf(name);
    if (!tags.has(found)) tags.set(found, name);
    tried += 1;
  }
}
