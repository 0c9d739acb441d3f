/**
 * A server that accepts every webhook, on a separate address, and can be made deaf: connections
 * to it are then neither accepted nor refused, as with a host that is down. A separate process.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';

const SERVER = `
const { createServer } = require('node:net');
const [host, port] = process.argv.slice(1);
const server = createServer((socket) => {
  socket.on('error', () => undefined);
  socket.on('data', () => socket.write('HTTP/1.1 204 No Content\\r\\n\\r\\n'));
});
server.listen({ host, port: Number(port), backlog: 1 }, () => console.log('listening'));
`;

/** More than the listen queue of a server that does not accept them. */
const CONNECTIONS = 8;

export interface DeafServer extends AsyncDisposable {
  /** Accepts again; waiting clients connect once the system retries, within about a second. */
  hear(): void;
}

export async function startDeaf(host: string, port: number): Promise<DeafServer> {
  const child = spawn(process.execPath, ['-e', SERVER, host, String(port)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await once(child.stdout, 'data');
  child.kill('SIGSTOP');
  const sockets: Socket[] = [];
  for (let n = 0; n < CONNECTIONS; n += 1) {
    sockets.push(connect({ host, port }).on('error', () => undefined));
  }
  return {
    hear: () => void child.kill('SIGCONT'),
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy();
      child.kill('SIGKILL');
      await once(child, 'exit');
    },
  };
}
