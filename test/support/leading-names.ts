/**
 * For the environment of a relay: `names` resolve to these addresses, one for each time that they are
 * resolved, and to the last one from then on; all other names are unaffected.
 */
export function leadingNames(
  names: Readonly<Record<string, readonly string[]>>,
): Record<string, string> {
  const source = `
import { promises } from 'node:dns';
import { isIPv6 } from 'node:net';
const names = ${JSON.stringify(names)};
const { lookup } = promises;
promises.lookup = async (name, options) => {
  const addresses = names[name];
  if (addresses === undefined) return lookup(name, options);
  const address = addresses.length > 1 ? addresses.shift() : addresses[0];
  return [{ address, family: isIPv6(address) ? 6 : 4 }];
};`;
  return { NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(source)}` };
}
