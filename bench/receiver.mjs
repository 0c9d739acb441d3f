/** A receiver in a process of its own, so that it does not take the sender's core. */
import { fork } from 'node:child_process';
import { createServer } from 'node:http';
import { fileURLToPath } from 'node:url';

const SELF = fileURLToPath(import.meta.url);

if (process.argv[2] === 'serve') serve();

/** Counts requests; tells the count, starts anew, or says when there were so many, when asked. */
function serve() {
  let count = 0;
  let awaited = Number.POSITIVE_INFINITY;
  const tellIfReached = () => {
    if (count < awaited) return;
    awaited = Number.POSITIVE_INFINITY;
    process.send?.({ count });
  };
  const server = createServer((request, response) => {
    request.resume().on('end', () => {
      count += 1;
      response.writeHead(204).end();
      tellIfReached();
    });
  });
  server.keepAliveTimeout = 60_000;
  server.listen(0, '127.0.0.1', () => {
    const address = server.address();
    process.send?.({ port: typeof address === 'object' ? address?.port : 0 });
  });
  process.on('message', (word) => {
    if (typeof word === 'number') {
      awaited = word;
      return tellIfReached();
    }
    if (word === 'reset') count = 0;
    process.send?.({ count });
  });
  process.on('disconnect', () => process.exit());
}

/** Starts it; `count` is the number of requests since `reset`. */
export async function startReceiver() {
  const child = fork(SELF, ['serve']);
  /** @returns {Promise<any>} */
  const answer = () => new Promise((resolve) => child.once('message', resolve));
  const { port } = await answer();
  /** @param {string | number} word */
  const ask = async (word) => {
    const answered = answer();
    child.send(word);
    return (await answered).count;
  };
  return {
    pid: child.pid ?? 0,
    url: `http://127.0.0.1:${port}/`,
    /** @returns {Promise<void>} */
    reset: () => ask('reset'),
    /** @returns {Promise<number>} */
    count: () => ask('count'),
    /**
     * Resolves when there have been so many; nothing else may be asked meanwhile.
     * @param {number} count
     * @returns {Promise<void>}
     */
    reached: (count) => ask(count),
    stop: async () => child.disconnect(),
  };
}
