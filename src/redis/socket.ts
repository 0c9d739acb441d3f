/** Opens sockets to Redis, and tracks the last one's progress. */
import { connect as connectTcp, isIP, type Socket } from 'node:net';
import { checkServerIdentity, connect as connectTls, type TLSSocket } from 'node:tls';
import { AbstractConnector, type Redis } from 'ioredis';
import type { RedisTls } from '../model/redis-login.js';
import type { Secret } from '../model/secret.js';
import type { RedisAddress } from '../model/vocabulary.js';
import { HEAD_BYTES_MAX } from './peer.js';

/**
 * How long one address of a name may take before the next one is tried in parallel: Node's default of 250 ms excludes
 * distant servers. The time is longer than the second that a lost SYN costs, and allows three addresses within the
 * connection timeout.
 */
export const ADDRESS_MS_MAX = 1_500;

/** The progress of a socket. */
type Phase = 'opening' | 'connected' | 'secured';

/** Observations of one connection; ioredis itself only reports the last error. */
export class Wire {
  /** The address of the next socket. */
  address: RedisAddress;
  /** The TLS settings of the next socket. */
  tls: RedisTls | null;
  /** The password of the next login. */
  password: Secret | null;
  #phase: Phase = 'opening';
  #head: Buffer = Buffer.alloc(0);
  #unanswered: string | null = null;

  constructor(address: RedisAddress) {
    this.address = address;
    this.tls = address.tls;
    this.password = address.password;
  }

  get phase(): Phase {
    return this.#phase;
  }

  /** The first bytes that the server sent. */
  get head(): Buffer {
    return this.#head;
  }

  /** The first command, in lower case, without a reply when the socket closed. */
  get unanswered(): string | null {
    return this.#unanswered;
  }

  /** A class for ioredis' option `Connector`. */
  connector(disconnectMs: number): new (options: unknown) => AbstractConnector {
    const open = () => this.#open();
    return class extends AbstractConnector {
      constructor() {
        super(disconnectMs);
      }

      async connect(): Promise<Socket | TLSSocket> {
        const socket = open();
        socket.once('error', (error) => {
          this.firstError = error;
        });
        this.stream = socket;
        return socket;
      }
    };
  }

  /** Records the command that `redis` waits for whenever its socket closes. */
  watch(redis: Redis): void {
    redis.on('connect', () => {
      redis.stream.prependListener('close', () => {
        this.#unanswered = redis.commandQueue.peekFront()?.command.name.toLowerCase() ?? null;
      });
    });
  }

  #open(): Socket | TLSSocket {
    this.#phase = 'opening';
    this.#head = Buffer.alloc(0);
    this.#unanswered = null;
    const { tls } = this;
    const socket = tls === null ? this.#openPlain() : this.#openSecure(tls);
    const reached = (phase: Phase) => {
      this.#phase = phase;
      if (phase === (tls === null ? 'connected' : 'secured')) this.#listen(socket);
    };
    socket.once('connect', () => reached('connected'));
    socket.once('secureConnect', () => reached('secured'));
    return socket;
  }

  #listen(socket: Socket): void {
    const hear = (chunk: Buffer) => {
      this.#head = Buffer.concat([this.#head, chunk.subarray(0, HEAD_BYTES_MAX)]);
      if (this.#head.length >= HEAD_BYTES_MAX) socket.off('data', hear);
    };
    socket.on('data', hear);
  }

  #openPlain(): Socket {
    const { path } = this.address;
    return connectTcp(path === null ? this.#place() : { path });
  }

  #openSecure({ ca, client, serverName }: RedisTls): TLSSocket {
    // A trailing dot is for DNS alone.
    const name = serverName ?? this.address.host.replace(/\.$/, '');
    return connectTls({
      ...this.#place(),
      ca: ca?.reveal(),
      cert: client?.cert.reveal(),
      key: client?.key.reveal(),
      // SNI allows only names (RFC 6066); an address is only verified.
      servername: isIP(name) === 0 ? name : '',
      checkServerIdentity: (_, certificate) => checkServerIdentity(name, certificate),
    });
  }

  #place() {
    const { host, port } = this.address;
    const autoSelectFamilyAttemptTimeout = ADDRESS_MS_MAX;
    return { host, port, autoSelectFamily: true, autoSelectFamilyAttemptTimeout };
  }
}
