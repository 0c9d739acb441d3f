/** The admin port: what an orchestrator and Prometheus ask. */
import { createServer } from 'node:net';
import type { Clock } from '../lib/clock.js';
import { listenOn } from '../lib/http-server.js';
import { messageOf } from '../model/errors.js';
import type { ListenAddress } from '../model/vocabulary.js';
import type { AdminLimit } from '../telemetry/metric-labels.js';
import { Connections } from './connections.js';
import type { Answer, Request } from './http.js';
import { SharedText } from './shared-text.js';

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
  readonly clock: Clock;
  readonly connectionsMax: number;
  /** The relay has closed a connection that passed this limit. */
  readonly onClosed: (limit: AdminLimit) => void;
  /** A connection could not be accepted. */
  readonly onError: (error: Error) => void;
}

export interface AdminServer {
  /** Where it listens; the port is the real one when the file asked for 0. */
  readonly address: ListenAddress;
  close(): Promise<void>;
}

/** Rejects with ListenError when the address cannot be had. */
export async function startAdmin(parts: AdminParts): Promise<AdminServer> {
  const { checks, metricsType, clock, connectionsMax, onClosed, onError } = parts;
  const metrics = new SharedText(parts.metrics, clock);
  const metricsAnswer = () =>
    metrics.get().then((body): Answer => ({ status: 200, body, type: metricsType }), failed);
  const answer = (request: Request) => {
    try {
      return answerTo(request, checks, metricsAnswer);
    } catch (error) {
      return failed(error);
    }
  };
  const connections = new Connections({ clock, connectionsMax, answer, onClosed });
  // Half open: a client that ends its side after its request still gets the response.
  const server = createServer({ allowHalfOpen: true }, (socket) => connections.add(socket));
  const address = await listenOn(server, parts.listen, 'admin.listen', onError);
  return {
    address,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        connections.closeAll();
      }),
  };
}

function answerTo(
  { method, path, query }: Request,
  checks: AdminParts['checks'],
  metrics: () => Promise<Answer>,
): Answer | Promise<Answer> {
  if (method !== 'GET' && method !== 'HEAD') return { status: 405, body: 'only GET and HEAD\n' };
  switch (path) {
    case '/livez':
    case '/healthz':
      return { status: 200, body: 'ok\n' };
    case '/readyz':
      return readiness(checks(), new URLSearchParams(query).has('verbose'));
    case '/metrics':
      return metrics();
    default:
      return { status: 404, body: 'not found: /livez, /readyz, /healthz or /metrics\n' };
  }
}

const failed = (error: unknown): Answer => ({ status: 500, body: `${messageOf(error)}\n` });

/** A line per check when asked for, and whenever one fails. */
function readiness(checks: readonly Check[], verbose: boolean): Answer {
  const ready = checks.every(({ problem }) => problem === null);
  const verdict = ready ? 'ok' : 'not ready';
  if (ready && !verbose) return { status: 200, body: 'ok\n' };
  const lines = checks.map(({ name, problem, note }) =>
    problem === null ? `[+] ${name}: ${note ?? 'ok'}` : `[-] ${name}: ${problem}`,
  );
  return { status: ready ? 200 : 503, body: `${[...lines, verdict].join('\n')}\n` };
}
