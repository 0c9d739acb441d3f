/** A proxy before a real Redis that replies to some commands like other servers. */
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

/** The words of a command → a RESP reply, or null when the server is to answer. */
export type Answer = (words: readonly string[]) => string | null;

/**
 * Works only for clients that wait for a reply before they send such a command, and send it in a
 * packet of its own, as the relay does.
 */
export async function startAnsweringProxy(
  port: number,
  answer: Answer,
): Promise<AsyncDisposable & { readonly port: number; readonly url: string }> {
  const sockets = new Set<Socket>();
  const server = createServer((client) => {
    const redis = connect(port, '127.0.0.1');
    for (const [one, other] of [
      [client, redis],
      [redis, client],
    ] as const) {
      sockets.add(one);
      one.on('error', () => undefined);
      one.on('close', () => {
        sockets.delete(one);
        other.destroy();
      });
    }
    redis.pipe(client);
    client.on('data', (chunk) => {
      const words = [...chunk.toString().matchAll(/\$\d+\r\n([^\r]*)\r\n/g)].map(
        ([, word = '']) => word,
      );
      const reply = answer(words);
      if (reply === null) redis.write(chunk);
      else client.write(reply);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const own = (server.address() as AddressInfo).port;
  return {
    port: own,
    url: `redis://127.0.0.1:${own}`,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
