import { get, type IncomingMessage } from 'node:http';
import { isIPv6, SocketAddress } from 'node:net';
import { loadAdminAddress } from '../config/load.js';
import { placeText } from '../lib/http-server.js';
import { escapeUnprintable } from '../lib/printable.js';
import { messageOf, SettingsError } from '../model/errors.js';
import type { CommandAction, FileOption } from './context.js';

/** Shorter than the health check timeout of any orchestrator. */
const ANSWER_WITHIN_MS = 3_000;

/** Larger than any response of the relay. Another program on the port may send an endless response. */
const BODY_BYTES_MAX = 64 * 1024;

/** Exit code 0 when the admin port of the configured relay reports success. */
export const healthcheck: CommandAction<FileOption & { ready?: boolean }> = async (
  { env, cwd, stdout, stderr },
  { config, ready },
) => {
  const { host, port } = await loadAdminAddress({ file: config, env, cwd });
  if (port === 0) {
    throw new SettingsError(
      'admin.listen lets the system choose a port (0), which healthcheck cannot know: set a port',
    );
  }
  const path = ready ? '/readyz' : '/livez';
  const signal = AbortSignal.timeout(ANSWER_WITHIN_MS);
  const silent: string[] = [];
  for (const address of addressesOf(host)) {
    const url = `http://${placeText({ host: address, port })}${path}`;
    try {
      const { status, body } = await ask({ host: address, port, path, signal });
      if (status === 200) {
        stdout.write(body);
        return 0;
      }
      stderr.write(`expiry-relay: ${url} answered ${status}:\n${body}`);
      return 1;
    } catch (error) {
      silent.push(`${url} does not answer: ${messageOf(error)}`);
    }
  }
  stderr.write(`expiry-relay: ${silent.join('; ')}\n`);
  return 1;
};

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
