/**
 * DNS lookups for all endpoints. The system's resolver uses a few threads that the whole process shares, and a name
 * whose servers do not respond blocks a thread for many seconds. Therefore each name has at most one lookup at a time,
 * and lookups of names that failed before share one thread.
 */
import { type LookupAddress, promises } from 'node:dns';
import { open } from 'node:fs/promises';
import type { LookupFunction } from 'node:net';
import { devNull } from 'node:os';
import type { Clock } from '../lib/clock.js';
import { preventionOf } from './failure.js';

/** A slower lookup makes its name a suspect before it has failed. */
const SLOW_MS = 1_000;

type Resolve = (hostname: string) => Promise<LookupAddress[]>;

const systemResolve: Resolve = async (hostname) => {
  try {
    return await promises.lookup(hostname, { all: true });
  } catch (error) {
    throw (await shortageOfFiles()) ?? error;
  }
};

/**
 * The system's resolver opens files and sockets. In a process that has no file descriptors left, it reports that the
 * name does not exist, or asks for a repetition. Returns the actual error; null: a file can be opened.
 */
async function shortageOfFiles(): Promise<unknown> {
  try {
    const file = await open(devNull);
    await file.close();
    return null;
  } catch (error) {
    return preventionOf(error) === null ? null : error;
  }
}

/** A `lookup` for net.connect and tls.connect. */
export function createDnsLookup(clock: Clock, resolve: Resolve = systemResolve): LookupFunction {
  const underWay = new Map<string, Promise<LookupAddress[]>>();
  const suspects = new Set<string>();
  let lastSuspect: Promise<unknown> = Promise.resolve();

  async function ask(hostname: string): Promise<LookupAddress[]> {
    const cancel = clock.after(SLOW_MS, () => suspects.add(hostname));
    try {
      const addresses = await resolve(hostname);
      suspects.delete(hostname);
      return addresses;
    } catch (error) {
      suspects.add(hostname);
      throw error;
    } finally {
      cancel();
      underWay.delete(hostname);
    }
  }

  function addressesOf(hostname: string): Promise<LookupAddress[]> {
    const running = underWay.get(hostname);
    if (running !== undefined) return running;
    const isSuspect = suspects.has(hostname);
    const addresses = isSuspect ? lastSuspect.then(() => ask(hostname)) : ask(hostname);
    if (isSuspect) lastSuspect = addresses.catch(() => undefined);
    underWay.set(hostname, addresses);
    return addresses;
  }

  return (hostname, options, callback) => {
    addressesOf(hostname).then(
      (all) => {
        const family = Number(options.family) || 0;
        const fitting = family === 0 ? all : all.filter((found) => found.family === family);
        const [first] = fitting;
        if (options.all) callback(null, fitting);
        else if (first !== undefined) callback(null, first.address, first.family);
        else callback(new Error(`${hostname} has no address of family ${family}`), '', 0);
      },
      (error: NodeJS.ErrnoException) => callback(error, options.all ? [] : '', 0),
    );
  };
}
