import type { Delivery } from '../../src/model/vocabulary.js';
import { packHead } from '../../src/state/packing.js';

/** A delivery as it is stored. */
export function packDelivery(delivery: Delivery): Buffer {
  return Buffer.concat([Buffer.from(packHead(delivery)), delivery.body]);
}
