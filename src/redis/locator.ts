/** Where a Redis is: at a fixed address, or at one that changes while the relay runs. */
import type { RedisAddress } from '../model/vocabulary.js';
import { addressOf } from './client.js';

export interface Locator<Address extends RedisAddress = RedisAddress> {
  /** The address as known now, for messages. */
  readonly address: Address;
  /** Resolves with the address to connect to now; rejects with a RelayError while it is unknown. */
  locate(): Promise<Address>;
  /** Calls `listener` at once whenever the address changes. Returns a function that ends this. */
  onMoved(listener: () => void): () => void;
}

/** Whether a Redis that was at this address is at another one now. */
export function isElsewhere({ address }: Locator, before: RedisAddress): boolean {
  return addressOf(address) !== addressOf(before);
}

/** For an address that is configured: a name may lead to another server without notice. */
export function fixedLocator<Address extends RedisAddress>(address: Address): Locator<Address> {
  return { address, locate: async () => address, onMoved: () => () => undefined };
}
