/** A receiver that notes how long after the deadline in each key's name its webhook came. */
import { createServer } from 'node:http';

export async function startLatenessReceiver() {
  /** @type {number[]} */
  const latenessesMs = [];
  const server = createServer((request, response) => {
    const atMs = Date.now();
    /** @type {Buffer[]} */
    const chunks = [];
    request.on('data', (chunk) => chunks.push(chunk));
    request.on('end', () => {
      const { key } = JSON.parse(Buffer.concat(chunks).toString()).data;
      latenessesMs.push(atMs - Number(key.slice(key.lastIndexOf(':') + 1)));
      response.writeHead(204).end();
    });
  });
  server.keepAliveTimeout = 60_000;
  await new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(undefined)));
  const address = server.address();
  const port = typeof address === 'object' ? address?.port : 0;
  return {
    url: `http://127.0.0.1:${port}/`,
    latenessesMs,
    async stop() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
