/** Settings that are valid, and probably not what the operator wants. Pure. */
import { endpointFields } from './endpoint-schema.js';
import type { Complaint } from './mistakes.js';
import { asList, asMapping, type Path, UNRESOLVED } from './path.js';
import { formatDuration } from './quantities.js';
import { shutdownField } from './schema.js';
import { complain, isGiven, type Section } from './sections.js';
import { statement } from './wording.js';

/** A restart of a receiver takes about as long. */
const RETRIES_MS_MIN = 60_000;

/** Patterns that match every key. */
const EVERY_KEY = /^\*+$/;

const listOf = (value: unknown) => (Array.isArray(value) ? value : [value]);

function lintMatch(path: Path, match: unknown): Complaint[] {
  return listOf(match).flatMap((pattern, index) =>
    typeof pattern === 'string' && EVERY_KEY.test(pattern)
      ? [
          complain(
            Array.isArray(match) ? [...path, index] : path,
            statement('matches every key; the relay tracks the deadlines of the whole database'),
          ),
        ]
      : [],
  );
}

/** Endpoints that no route names; none when a name is not known. */
function lintUnused(routes: readonly unknown[], endpoints: Section): Complaint[] {
  const used = new Set(routes.flatMap((route) => listOf(asMapping(route)?.to)));
  if (used.has(UNRESOLVED)) return [];
  return Object.keys(endpoints)
    .filter((name) => !used.has(name))
    .map((name) => complain(['endpoints', name], statement('no route uses this endpoint'), 'key'));
}

function lintEndpoint(path: Path, endpoint: Section, graceMs: number | undefined): Complaint[] {
  const complaints: Complaint[] = [];
  const url = endpointFields.url.safeParse(endpoint.url).data;
  if (url?.protocol === 'http:' && endpoint.secrets === 'none') {
    const text = 'unsigned webhooks over http:// can be forged by anyone who reaches the endpoint';
    complaints.push(complain([...path, 'secrets'], statement(text)));
  }
  const timeoutMs = endpointFields.timeout.safeParse(endpoint.timeout).data;
  if (timeoutMs !== undefined && graceMs !== undefined && timeoutMs > graceMs) {
    const text =
      `timeout (${formatDuration(timeoutMs)}) is longer than shutdown.grace ` +
      `(${formatDuration(graceMs)}): a stop may cut attempts off, and they are sent again`;
    const isOwn = isGiven(endpoint, 'timeout');
    complaints.push(complain(isOwn ? [...path, 'timeout'] : path, statement(text)));
  }
  const schedule = endpointFields.retry.safeParse(endpoint.retry).data?.schedule;
  const retriesMs = schedule?.reduce((total, waitMs) => total + waitMs, 0);
  if (retriesMs !== undefined && retriesMs < RETRIES_MS_MIN) {
    const last = `the last retry is ${formatDuration(retriesMs)} after the first attempt`;
    const text = schedule?.length === 0 ? 'no retries' : last;
    const wording = statement(`${text}: a restart of the receiver may take longer`);
    complaints.push(complain([...path, 'retry', 'schedule'], wording));
  }
  return complaints;
}

/** `root`: a valid value after interpolation; parts of it may be unresolved. */
export function lint(root: unknown): Complaint[] {
  const file = asMapping(root) ?? {};
  const routes = asList(file.routes);
  const endpoints = asMapping(file.endpoints) ?? {};
  const graceMs = shutdownField.safeParse(file.shutdown).data?.grace;
  return [
    ...routes.flatMap((route, index) =>
      lintMatch(['routes', index, 'match'], asMapping(route)?.match),
    ),
    ...lintUnused(routes, endpoints),
    ...Object.entries(endpoints).flatMap(([name, endpoint]) =>
      lintEndpoint(['endpoints', name], asMapping(endpoint) ?? {}, graceMs),
    ),
  ];
}
