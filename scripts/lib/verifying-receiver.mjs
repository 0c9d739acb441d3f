/** A receiver of webhooks that verifies each with the library of Standard Webhooks. */
import { once } from 'node:events';
import { createServer } from 'node:http';
import { text as textOf } from 'node:stream/consumers';
import { Webhook } from 'standardwebhooks';
import { freePort } from './free-port.mjs';

/**
 * @typedef {{ path: string, body: string, problem: string | null }} Arrival problem: why
 *   standardwebhooks refuses it, or null
 */

/**
 * @param {import('node:http').IncomingMessage} request
 * @param {string} secret
 * @returns {Promise<Arrival>}
 */
async function receive(request, secret) {
  const body = await textOf(request);
  const arrival = { path: request.url ?? '', body, problem: null };
  try {
    new Webhook(secret).verify(body, /** @type {Record<string, string>} */ (request.headers));
    return arrival;
  } catch (error) {
    return { ...arrival, problem: String(error) };
  }
}

/** Accepts each webhook. @param {string} secret */
export async function startVerifyingReceiver(secret) {
  /** @type {Arrival[]} */
  const arrivals = [];
  const server = createServer(async (request, response) => {
    arrivals.push(await receive(request, secret));
    response.writeHead(204).end();
  });
  const port = await freePort();
  await once(server.listen(port, '127.0.0.1'), 'listening');
  const stop = () => {
    server.close();
    server.closeAllConnections();
  };
  return { port, arrivals, stop };
}
