import { get, type IncomingMessage } from 'node:http';
import { isIPv6, SocketAddress } from 'node:net';
import { loadAdminAddress } from '../config/load.js';
import { placeText } from '../lib/http-server.js';
import { escapeUnprintable, printableJson } from '../lib/printable.js';
import { messageOf, SettingsError } from '../model/errors.js';
import type { CommandAction, FileOption } from './context.js';
import { fitted } from './screen.js';

/** Shorter than the health check timeout of any orchestrator. */
const ANSWER_WITHIN_MS = 3_000;

/** Larger than any response of the relay. Another program on the port may send an endless response. */
const BODY_BYTES_MAX = 64 * 1024;

export interface HealthcheckOptions extends FileOption {
  readonly ready?: boolean;
  readonly json?: boolean;
}

/** Exit code 0 when the admin port of the configured relay reports success. */
export const healthcheck: CommandAction<HealthcheckOptions> = async (
  { env, cwd, stdout, stderr },
  { config, ready, json },
) => {
  const { host, port } = await loadAdminAddress({ file: config, env, cwd });
  if (port === 0) {
    throw new SettingsError(
      'admin.listen has port 0, which lets the system choose: healthcheck needs a fixed port',
    );
  }
  const path = ready ? '/readyz' : '/livez';
  const signal = AbortSignal.timeout(ANSWER_WITHIN_MS);
  const silent: string[] = [];
  for (const address of addressesOf(host)) {
    const url = `http://${placeText({ host: address, port })}${path}`;
    try {
      const { status, body } = await ask({ host: address, port, path, signal });
      const isHealthy = status === 200;
      if (json) stdout.write(jsonLine({ url, status, body, error: null }));
      else if (isHealthy) stdout.write(body);
      else stderr.write(`expiry-relay: ${url} responded ${status}:\n${body}`);
      return isHealthy ? 0 : 1;
    } catch (error) {
      silent.push(`${url} does not respond: ${messageOf(error)}`);
    }
  }
  const error = `${silent.join('; ')}. Check that the relay is running, and check admin.listen`;
  if (json) stdout.write(jsonLine({ url: null, status: null, body: null, error }));
  else stderr.write(fitted(stderr, `expiry-relay: ${error}\n`));
  return 1;
};

/** Programs depend on these names. */
interface HealthJson {
  /** Null when no address responds. */
  readonly url: string | null;
  readonly status: number | null;
  readonly body: string | null;
  readonly error: string | null;
}

function jsonLine(health: HealthJson): string {
  return `${printableJson({ healthy: health.status === 200, ...health })}\n`;
}

/**
 * Addresses to connect to on this machine for a server that listens on `host`. A server on `::` accepts IPv4 when
 * the machine has no IPv6, and only IPv6 when its sockets are not dual-stack.
 */
export function addressesOf(host: string): readonly string[] {
  // Shortest form, without the zone.
  const address = isIPv6(host)
    ? new SocketAddress({ address: host, family: 'ipv6' }).address
    : host;
  if (address === '::' || address === '::ffff:0.0.0.0') return ['::1', '127.0.0.1'];
  return [/^0+(\.0+){0,3}$/.test(host) ? '127.0.0.1' : host];
}

interface Question {
  readonly host: string;
  readonly port: number;
  readonly path: string;
  readonly signal: AbortSignal;
}

function ask(question: Question): Promise<{ status: number; body: string }> {
  return new Promise((resolve, reject) => {
    get(question, (response) => {
      const { statusCode: status = 0 } = response;
      textOf(response).then((body) => resolve({ status, body }), reject);
    }).on('error', reject);
  });
}

/** The printed part of the body, split into lines that are safe to print. */
async function textOf(response: IncomingMessage): Promise<string> {
  let body = Buffer.alloc(0);
  for await (const chunk of response as AsyncIterable<Buffer>) {
    body = Buffer.concat([body, chunk]).subarray(0, BODY_BYTES_MAX);
    if (body.length === BODY_BYTES_MAX) break;
  }
  const lines = body.toString().split('\n');
  return lines.map((line) => escapeUnprintable(line, BODY_BYTES_MAX)).join('\n');
}
