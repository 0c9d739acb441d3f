import { request } from 'undici';
import { loadAdminAddress } from '../config/load.js';
import { messageOf } from '../errors.js';
import type { CommandAction, FileOption } from './context.js';

/** Shorter than any orchestrator's own patience. */
const ANSWER_WITHIN_MS = 3_000;

/** Where a client on this machine reaches a server that listens on every address. */
const LOCAL: Readonly<Record<string, string>> = { '0.0.0.0': '127.0.0.1', '::': '[::1]' };

/** Exit code 0 when the relay that this file configures answers well on its admin port. */
export const healthcheck: CommandAction<FileOption & { ready?: boolean }> = async (
  { env, cwd, stdout, stderr },
  { config, ready },
) => {
  const { host, port } = await loadAdminAddress({ file: config, env, cwd });
  const name = LOCAL[host] ?? (host.includes(':') ? `[${host}]` : host);
  const url = `http://${name}:${port}/${ready ? 'readyz' : 'livez'}`;
  try {
    const signal = AbortSignal.timeout(ANSWER_WITHIN_MS);
    const { statusCode, body } = await request(url, { signal });
    const text = await body.text();
    if (statusCode === 200) {
      stdout.write(text);
      return 0;
    }
    stderr.write(`expiry-relay: ${url} answered ${statusCode}:\n${text}`);
  } catch (error) {
    stderr.write(`expiry-relay: ${url} does not answer: ${messageOf(error)}\n`);
  }
  return 1;
};
