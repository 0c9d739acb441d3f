import { get } from 'node:http';
import { isIPv6, SocketAddress } from 'node:net';
import { text } from 'node:stream/consumers';
import { loadAdminAddress } from '../config/load.js';
import { messageOf, SettingsError } from '../errors.js';
import { placeText } from '../http-server.js';
import type { CommandAction, FileOption } from './context.js';

/** Shorter than any orchestrator's own patience. */
const ANSWER_WITHIN_MS = 3_000;

/** Exit code 0 when the relay that this file configures answers well on its admin port. */
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
 * Where a client on this machine reaches a server that listens on `host`. A server on `::` is
 * reached by IPv4 where the machine has no IPv6, and by IPv6 alone where its sockets are not shared.
 */
export function addressesOf(host: string): readonly string[] {
  // In the shortest form; the zone of an address is left out there.
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
      text(response).then((body) => resolve({ status, body }), reject);
    }).on('error', reject);
  });
}
