/**
 * A TCP connection to a host name, by whichever of its addresses connects first (RFC 8305). A slow address is still
 * tried while the next one is; Node's own implementation gives up the slow one.
 */
import type { LookupAddress } from 'node:dns';
import { connect, isIP, type LookupFunction, type Socket } from 'node:net';
import type { Clock } from '../lib/clock.js';

/** The delay before the next address is tried in parallel (RFC 8305, section 8). */
const NEXT_ADDRESS_MS = 250;

/**
 * Socket options: read from the system only after all earlier data has been consumed. By default Node reads ahead until
 * 64 KiB are buffered, one packet at a time.
 */
export const READ_AS_TAKEN = { highWaterMark: 1 } as const;

export interface DialParts {
  readonly host: string;
  readonly port: number;
  readonly lookup: LookupFunction;
  readonly clock: Clock;
}

export type Dialled = (...result: readonly [error: Error] | readonly [null, Socket]) => void;

/** Calls back once, unless cancelled before. Returns the function that cancels. */
export function dial({ host, port, lookup, clock }: DialParts, callback: Dialled): () => void {
  const sockets = new Set<Socket>();
  const failures: Error[] = [];
  let isOver = false;
  let cancelNext: () => void = () => undefined;

  const end = (winner: Socket | null) => {
    isOver = true;
    cancelNext();
    for (const socket of sockets) if (socket !== winner) socket.destroy();
  };
  const fail = (error: Error) => {
    if (isOver) return;
    end(null);
    callback(error);
  };

  const tryEach = (addresses: Iterator<string>) => {
    cancelNext();
    const next = addresses.next();
    if (next.done) {
      if (sockets.size === 0) fail(aggregate(failures));
      return;
    }
    const socket = connect({ host: next.value, port, noDelay: true, ...READ_AS_TAKEN });
    sockets.add(socket);
    socket.once('connect', () => {
      if (isOver) return void socket.destroy();
      end(socket);
      callback(null, socket);
    });
    // The listener stays attached: later errors are ignored.
    socket.on('error', (error) => {
      if (isOver) return;
      sockets.delete(socket);
      failures.push(error);
      tryEach(addresses);
    });
    cancelNext = clock.after(NEXT_ADDRESS_MS, () => tryEach(addresses));
  };

  if (isIP(host) !== 0) {
    tryEach([host].values());
    return () => end(null);
  }
  lookup(host, { all: true }, (error, found) => {
    if (isOver) return;
    if (error !== null) return fail(error);
    const addresses = (found as LookupAddress[]).map(({ address }) => address);
    if (addresses.length === 0) return fail(new Error(`${host} has no address`));
    tryEach(addresses.values());
  });
  return () => end(null);
}

/** A single error is returned unchanged. */
function aggregate(failures: readonly Error[]): Error {
  const [first] = failures;
  if (failures.length === 1 && first !== undefined) return first;
  const all = new AggregateError(failures, failures.map(({ message }) => message).join('; '));
  const code = first !== undefined && 'code' in first ? first.code : '';
  return Object.assign(all, { code });
}
