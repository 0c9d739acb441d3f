/** The admin port: what an orchestrator and Prometheus ask. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { messageOf } from '../errors.js';
import { closeServer, listenOn } from '../http-server.js';
import type { ListenAddress } from '../vocabulary.js';

/** Nobody has reason to hold more; it keeps a stray client from exhausting the process. */
const CONNECTIONS_MAX = 100;

const REQUEST_MS_MAX = 5_000;

/** Node looks for connections over the time limit only so often; its default is half a minute. */
const LIMITS = {
  requestTimeout: REQUEST_MS_MAX,
  headersTimeout: REQUEST_MS_MAX,
  connectionsCheckingInterval: 1_000,
};

/** One condition of being ready; `problem` is null when it holds. */
export interface Check {
  readonly name: string;
  readonly problem: string | null;
  /** What to know of it although it holds. */
  readonly note?: string;
}

export interface AdminParts {
  readonly listen: ListenAddress;
  readonly checks: () => readonly Check[];
  readonly metrics: () => Promise<string>;
  readonly metricsType: string;
}

export interface AdminServer {
  /** Where it listens; the port is the real one when the file asked for 0. */
  readonly address: ListenAddress;
  close(): Promise<void>;
}

interface Answer {
  readonly status: number;
  readonly text: string;
  readonly type?: string;
}

/** Rejects with ListenError when the address cannot be had. */
export async function startAdmin(parts: AdminParts): Promise<AdminServer> {
  const server = createServer(LIMITS, (request, response) => {
    answer(request, parts).then(
      (found) => send(response, found),
      (error: unknown) => send(response, { status: 500, text: `${messageOf(error)}\n` }),
    );
  });
  server.maxConnections = CONNECTIONS_MAX;
  const address = await listenOn(server, parts.listen, 'admin.listen');
  return { address, close: () => closeServer(server) };
}

async function answer(request: IncomingMessage, parts: AdminParts): Promise<Answer> {
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    return { status: 405, text: 'only GET and HEAD\n' };
  }
  const [path, query = ''] = (request.url ?? '').split('?', 2);
  switch (path) {
    case '/livez':
    case '/healthz':
      return { status: 200, text: 'ok\n' };
    case '/readyz':
      return readiness(parts.checks(), new URLSearchParams(query).has('verbose'));
    case '/metrics':
      return { status: 200, text: await parts.metrics(), type: parts.metricsType };
    default:
      return { status: 404, text: 'not found: /livez, /readyz, /healthz or /metrics\n' };
  }
}

/** A line per check when asked for, and whenever one fails. */
function readiness(checks: readonly Check[], verbose: boolean): Answer {
  const ready = checks.every(({ problem }) => problem === null);
  const verdict = ready ? 'ok' : 'not ready';
  if (ready && !verbose) return { status: 200, text: 'ok\n' };
  const lines = checks.map(({ name, problem, note }) =>
    problem === null ? `[+] ${name}: ${note ?? 'ok'}` : `[-] ${name}: ${problem}`,
  );
  return { status: ready ? 200 : 503, text: `${[...lines, verdict].join('\n')}\n` };
}

function send(response: ServerResponse, { status, text, type }: Answer): void {
  response.writeHead(status, {
    'content-type': type ?? 'text/plain; charset=utf-8',
    'cache-control': 'no-store',
  });
  response.end(text);
}
