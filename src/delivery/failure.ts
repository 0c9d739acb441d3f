/** Classifies requests without a response: the reason, and whether the relay itself is at fault. */
import { errors } from 'undici';
import { remedyOf } from '../lib/exhaustion.js';
import { printable } from '../lib/printable.js';
import { codeOf, messageOf } from '../model/errors.js';
import type { Outcome, Prevented, UnreachableReason } from '../model/vocabulary.js';

/** No connection within the time limit. */
export const CONNECT_TIMEOUT_CODE = 'UND_ERR_CONNECT_TIMEOUT';

const CAUSES: Readonly<Record<string, UnreachableReason>> = {
  [CONNECT_TIMEOUT_CODE]: 'timeout',
  ETIMEDOUT: 'timeout',
  ENOTFOUND: 'dns',
  EAI_AGAIN: 'dns',
  ECONNREFUSED: 'connection_refused',
  ECONNRESET: 'connection_reset',
  EPIPE: 'connection_reset',
  UND_ERR_SOCKET: 'connection_reset',
  ERR_RESPONSE_HEAD: 'protocol',
  UND_ERR_RES_CONTENT_LENGTH_MISMATCH: 'protocol',
  // undici's error for a status below 100.
  ERR_ASSERTION: 'protocol',
  ERR_PROXY: 'proxy',
  ERR_FORBIDDEN_ADDRESS: 'forbidden_address',
};

/** The codes of OpenSSL's certificate checks, as named by Node. */
const TLS_CODE = /CERT|SSL|TLS|SIGNATURE|ISSUER|CRL/;

/** An address without a route from this machine; an endpoint's other addresses may still be reachable. */
const OF_ONE_ADDRESS = 'EADDRNOTAVAIL';

/** A failure of the endpoint, or of the network on the way to it. */
export function unreachableReason(error: unknown): UnreachableReason {
  const code = codeOf(error);
  const known = CAUSES[code];
  if (known !== undefined) return known;
  if (error instanceof errors.HTTPParserError) return 'protocol';
  return TLS_CODE.test(code) ? 'tls' : 'network';
}

/** The outcome of an attempt that fails because of a bug. It affects this delivery alone. */
export function internalError(error: unknown): Outcome {
  const detail = printable(messageOf(error));
  return { kind: 'unreachable', reason: 'internal_error', code: codeOf(error), detail };
}

/** A failure of the relay's own machine, unrelated to the endpoint; null: the error is not one. */
export function preventionOf(error: unknown): Prevented | null {
  const all = error instanceof AggregateError ? error.errors : [error];
  const own = all.filter((each) => remedyOf(codeOf(each)) !== null);
  const [first] = own.filter((each) => codeOf(each) !== OF_ONE_ADDRESS);
  const found = first ?? (own.length === all.length ? own[0] : undefined);
  if (found === undefined) return null;
  return { kind: 'prevented', code: codeOf(found), detail: printable(messageOf(found)) };
}
