/**
 * Checks whether endpoints are reachable: resolves the name, connects and, for https, verifies the certificate, as
 * an attempt does. Sends nothing.
 */
import type { LookupFunction } from 'node:net';
import { createConnector, targetOf } from '../delivery/connect.js';
import { createDnsLookup } from '../delivery/dns.js';
import { preventionOf, unreachableReason } from '../delivery/failure.js';
import { redact } from '../delivery/redaction.js';
import type { Clock } from '../lib/clock.js';
import type { Endpoint } from '../model/endpoint.js';
import { codeOf, messageOf } from '../model/errors.js';
import type { Finding } from '../server/finding.js';
import { judgeEndpoint, type Reach } from './judge-endpoint.js';
import type { QueryContext } from './server.js';

/** Limit for each step towards an endpoint; an operator waits at the terminal. */
const STEP_MS_MAX = 5_000;

/** Endpoints checked concurrently: a configuration may name hundreds. */
const AT_ONCE = 20;

/** Returns findings in configuration order. */
export async function examineEndpoints(
  endpoints: readonly Endpoint[],
  { clock, stop }: QueryContext,
): Promise<Finding[]> {
  const lookup = createDnsLookup(clock);
  const findings: Finding[] = [];
  const waiting = endpoints.entries();
  const work = async () => {
    for (const [at, endpoint] of waiting) {
      if (stop.aborted) return;
      const beganAtMs = clock.monotonicMs();
      const reach = await reachOf(endpoint, lookup, clock);
      findings[at] = judgeEndpoint(endpoint, reach, clock.monotonicMs() - beganAtMs);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  return findings;
}

/** The steps are the connection, the proxy's response, and a TLS handshake with the proxy and with the endpoint. */
function stepsTo({ url, proxy }: Endpoint): number {
  const steps = [true, proxy !== null, proxy?.url.protocol === 'https:', url.protocol === 'https:'];
  return steps.filter(Boolean).length;
}

/** Never rejects. */
function reachOf(endpoint: Endpoint, lookup: LookupFunction, clock: Clock): Promise<Reach> {
  const timeoutMs = Math.min(stepsTo(endpoint) * STEP_MS_MAX, endpoint.timeoutMs);
  const connect = createConnector(endpoint, { clock, lookup, timeoutMs });
  return new Promise((resolve) => {
    connect(targetOf(endpoint.url), (error, socket) => {
      if (error === null) {
        resolve({ kind: 'connected', address: socket.remoteAddress ?? '' });
        socket.on('error', () => undefined);
        socket.destroy();
        return;
      }
      const detail = redact(messageOf(error), endpoint);
      const prevented = preventionOf(error);
      if (prevented !== null) return resolve(prevented);
      resolve({ kind: 'failed', reason: unreachableReason(error), code: codeOf(error), detail });
    });
  });
}
