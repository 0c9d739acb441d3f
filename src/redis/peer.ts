/** Recognizes servers other than Redis by the first bytes that they sent. Pure. */
import { printable } from '../lib/printable.js';

/** More than any greeting needs. */
export const HEAD_BYTES_MAX = 96;

interface Peer {
  readonly name: string;
  readonly greets: RegExp;
}

/** The greeting of each server, or its response to a command of Redis; bytes as latin-1. */
const PEERS: readonly Peer[] = [
  { name: 'an HTTP server', greets: /^HTTP\/\d/ },
  // HTTP/0.9 and some proxies respond to unreadable requests with a bare HTML page.
  { name: 'an HTTP server', greets: /^\s*<(?:!doctype|html)/i },
  { name: 'an SSH server', greets: /^SSH-\d/ },
  { name: 'an FTP server', greets: /^220[ -].*FTP/i },
  { name: 'an SMTP server', greets: /^(?:220|421|554)[ -]/ },
  { name: 'an IMAP server', greets: /^\* (?:OK|BYE|PREAUTH)\b/ },
  { name: 'a POP3 server', greets: /^\+OK .*(?:POP|ready)/i },
  { name: 'a memcached server', greets: /^(?:CLIENT_)?ERROR\b/ },
  { name: 'an AMQP server (RabbitMQ)', greets: /^AMQP/ },
  { name: 'a NATS server', greets: /^INFO \{/ },
];

/** A TLS alert or handshake of version 3.x. */
function isTls(head: Buffer): boolean {
  return (head[0] === 0x15 || head[0] === 0x16) && head[1] === 3;
}

/** The length of a packet in 3 bytes and its number, then protocol version 10 or an error. */
function isMySql(head: Buffer): boolean {
  return head[2] === 0 && head[3] === 0 && (head[4] === 10 || head[4] === 0xff);
}

/** An error: its length in 4 bytes, then its severity. */
function isPostgres(head: Buffer): boolean {
  return head[0] === 0x45 && head[1] === 0 && head[2] === 0 && head[5] === 0x53;
}

/** The type bytes of RESP2 and RESP3; no other known protocol starts a line with them. */
const RESP = /^[+\-:$*_,#!=%~>|(]/;

export type PeerKind =
  | { readonly kind: 'redis' }
  | { readonly kind: 'tls' }
  /** `name` includes its article. */
  | { readonly kind: 'other'; readonly name: string };

/** The kind of server that sent these bytes; without any bytes, Redis is assumed. */
export function peerOf(head: Buffer): PeerKind {
  const text = head.toString('latin1');
  const known = PEERS.find(({ greets }) => greets.test(text));
  if (known !== undefined) return { kind: 'other', name: known.name };
  if (isTls(head)) return { kind: 'tls' };
  if (isMySql(head)) return { kind: 'other', name: 'a MySQL or MariaDB server' };
  if (isPostgres(head)) return { kind: 'other', name: 'a PostgreSQL server' };
  if (text === '' || RESP.test(text)) return { kind: 'redis' };
  const [line = ''] = text.split(/\r?\n/);
  return { kind: 'other', name: `a server that sends "${printable(line)}"` };
}
