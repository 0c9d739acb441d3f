/** A connection to the state Redis that reconnects by itself. */
import { Redis } from 'ioredis';
import type { Clock } from '../lib/clock.js';
import { Condition } from '../lib/condition.js';
import type { RelayError } from '../model/errors.js';
import { CLOSED, connectError, credentialsOf, disconnect, optionsFor } from './connect.js';
import { isElsewhere, type Locator } from './locator.js';
import { Wire } from './socket.js';

/** The first delay before reconnecting; the delay doubles each time. */
const RECONNECT_FIRST_MS = 50;
export const RECONNECT_MS_MAX = 2_000;

export interface LastingParts {
  readonly locator: Locator;
  /** The number of the logical database. */
  readonly database: number;
  /** The section of the configuration with this server's address. */
  readonly section: 'redis' | 'state';
  readonly clock: Clock;
  /** Ends the connection. */
  readonly closing: AbortSignal;
  /** Called when a connection could not be opened, or ended; `closed`: without an error. */
  readonly onEnded: (reason: RelayError, end: 'closed' | 'failed') => void;
  /** Called when the files of the login are not valid any more. */
  readonly onStale: (problem: string) => void;
}

/**
 * While Redis is unavailable, commands reject at once and are not repeated: the caller decides that. When the address
 * changes, the connection ends at once, and commands in progress reject.
 */
export function openLasting(parts: LastingParts): Redis {
  const { locator, database, section, clock, closing, onEnded, onStale } = parts;
  const { address } = locator;
  const wire = new Wire(address);
  const redis = new Redis({
    ...optionsFor(address, wire),
    db: database,
    ...(address.username === null ? {} : { username: address.username }),
    ...(address.password === null ? {} : { password: address.password.reveal() }),
    lazyConnect: true,
    // The relay waits itself, to find the server and read the password again before it reconnects.
    retryStrategy: null,
    autoResendUnfulfilledCommands: false,
    // The check would wait silently for a server that loads its data; the state reports that itself.
    enableReadyCheck: false,
    connectionName: 'expiry-relay:state',
    // The server is a primary no longer: its name may lead to the new one by now.
    reconnectOnError: ({ message }) => message.includes('READONLY'),
  });
  wire.watch(redis);
  let waitMs = RECONNECT_FIRST_MS;
  let cause: unknown = null;
  const moved = new Condition();
  redis.on('error', (error) => {
    // A failed SELECT is ignored: the database is verified once the server is known.
    if ((error as { command?: { name: string } }).command?.name !== 'select') cause ??= error;
  });
  redis.on('connect', () => {
    // The address may have changed since the socket was opened.
    if (isElsewhere(locator, wire.address)) redis.stream.destroy();
  });
  redis.on('ready', () => {
    waitMs = RECONNECT_FIRST_MS;
    address.files?.onAccepted();
  });
  redis.on('end', () => {
    if (closing.aborted) return;
    const end = cause === null ? 'closed' : 'failed';
    onEnded(connectError(cause ?? CLOSED, wire, wire.address, section), end);
    cause = null;
    void reconnect();
  });
  const reconnect = async () => {
    await moved.wait(clock, waitMs, closing);
    waitMs = Math.min(waitMs * 2, RECONNECT_MS_MAX);
    if (!closing.aborted) await open();
  };
  const open = async () => {
    try {
      wire.address = await locator.locate();
    } catch (error) {
      if (closing.aborted) return;
      onEnded(error as RelayError, 'failed');
      return reconnect();
    }
    const { password, tls } = await credentialsOf(address, onStale);
    if (closing.aborted) return;
    wire.tls = tls;
    wire.password = password;
    if (password !== null) redis.options.password = password.reveal();
    // Reported by the event `error`.
    await redis.connect().catch(() => undefined);
  };
  const stopFollowing = locator.onMoved(() => {
    waitMs = RECONNECT_FIRST_MS;
    moved.notifyAll();
    if (isElsewhere(locator, wire.address)) redis.stream?.destroy();
  });
  closing.addEventListener(
    'abort',
    () => {
      stopFollowing();
      disconnect(redis);
    },
    { once: true },
  );
  void open();
  return redis;
}
