/**
 * The subset of HTTP/1 for the admin port: one request, whose body is ignored, and one response. Pure.
 *
 * The parser of node:http cannot be stopped within a read: it emits each of the 3,600 requests that 64 KiB can
 * hold, which takes 25 ms per connection under any limits. To pass it only one request, the relay would have to
 * find the end of the head itself.
 */
import { STATUS_CODES } from 'node:http';

/** Prometheus and orchestrators send a few hundred bytes. */
export const HEAD_BYTES_MAX = 8 * 1024;

export interface Request {
  readonly method: string;
  readonly path: string;
  /** The part after the `?`. */
  readonly query: string;
  /** The lines before the body, in Latin-1. */
  readonly head: string;
  /** The address of the client. */
  readonly client: string;
}

/** A request as it is read, before the connection adds its client. */
export type RequestHead = Omit<Request, 'client'>;

export interface Answer {
  readonly status: number;
  readonly body: string | Buffer;
  readonly type?: string;
  /** Names in lower case. */
  readonly headers?: Readonly<Record<string, string>>;
}

/** An error response for bytes that are not a request; null while the head is incomplete. */
export function readHead(bytes: Buffer): RequestHead | Answer | null {
  const text = bytes.toString('latin1');
  if (FIRST_LINE_BEGUN.test(text)) return bytes.length < HEAD_BYTES_MAX ? null : TOO_LONG;
  const [, method, target] = REQUEST_LINE.exec(text) ?? [];
  if (method === undefined || target === undefined) return MALFORMED;
  if (!/[^\r\n]\r?\n\r?\n/.test(text)) return bytes.length < HEAD_BYTES_MAX ? null : TOO_LONG;
  const [path = '', query = ''] = target.replace(ORIGIN, '').split('?', 2);
  return { method, path, query, head: text };
}

/** The value of a header; null when it is missing, and an unusable one when it is repeated. */
export function headerOf(head: string, name: string): string | null {
  const [block = ''] = head.trimStart().split(/\r?\n\r?\n/, 1);
  const [, ...lines] = block.split(/\r?\n/);
  const values = lines.flatMap((line) => {
    const [, found = '', value = ''] = /^([^:]*):[ \t]*(.*?)[ \t]*$/.exec(line) ?? [];
    return found.toLowerCase() === name ? [value] : [];
  });
  return values.length === 0 ? null : values.join(', ');
}

/** An answer with a JSON object. */
export function jsonAnswer(status: number, body: object): Answer {
  return { status, body: `${JSON.stringify(body)}\n`, type: 'application/json' };
}

/** Blank lines, then a partial line: clients of other protocols, such as TLS, get a response at once. */
const FIRST_LINE_BEGUN = /^(?:\r?\n)*(?:\r?|[A-Z][^\n]*)$/;
const REQUEST_LINE = /^(?:\r?\n)*([A-Z]+) (\S+) HTTP\/1\.\d\r?\n/;
/** Clients configured for a proxy put the origin before the path. */
const ORIGIN = /^https?:\/\/[^/?]*/;

export const MALFORMED: Answer = { status: 400, body: 'not an HTTP/1.1 request\n' };
const TOO_LONG: Answer = {
  status: 431,
  body: `the request's head is larger than ${HEAD_BYTES_MAX} bytes\n`,
};

/** The bytes before the body. Every response closes the connection. */
export function responseHead({ status, body, type, headers }: Answer, nowMs: number): string {
  const fields = [
    `content-type: ${type ?? 'text/plain; charset=utf-8'}`,
    `content-length: ${Buffer.byteLength(body)}`,
    'cache-control: no-store',
    ...Object.entries(headers ?? {}).map(([name, value]) => `${name}: ${value}`),
    `date: ${new Date(nowMs).toUTCString()}`,
    'connection: close',
  ];
  return `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\n${fields.join('\r\n')}\r\n\r\n`;
}
