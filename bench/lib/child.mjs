/**
 * A child process of a bench, with its own event loop. The parent asks,
 * the child answers; the child ends when the parent does, however that ends.
 */
import { fork } from 'node:child_process';
import { pathToFileURL } from 'node:url';

/** @typedef {(value: any) => unknown} Answer what is asked for, or a promise of it */

/**
 * @typedef {object} Child
 * @property {number} pid
 * @property {(verb: string, value?: unknown) => Promise<any>} ask
 * @property {() => Promise<void>} stop
 */

/**
 * Starts the file, which must call `serve` when its first argument is `serve`.
 * @param {string} url
 * @param {unknown} [options]
 * @returns {Promise<Child>}
 */
export async function startChild(url, options = {}) {
  const child = fork(new URL(url), ['serve', JSON.stringify(options)]);
  /** @type {Map<number, { resolve: (value: any) => void, reject: (error: Error) => void }>} */
  const asked = new Map();
  let asks = 0;
  const exited = new Promise((resolve) => {
    child.once('exit', (code) => {
      const error = new Error(`expected ${url} to answer, but it ended with code ${code}`);
      for (const { reject } of asked.values()) reject(error);
      resolve(undefined);
    });
  });
  child.on('message', (/** @type {any} */ { id, value, error }) => {
    const waiting = asked.get(id);
    asked.delete(id);
    if (error === undefined) waiting?.resolve(value);
    else waiting?.reject(new Error(error));
  });
  /** @type {Child['ask']} */
  const ask = (verb, value = null) =>
    new Promise((resolve, reject) => {
      asks += 1;
      asked.set(asks, { resolve, reject });
      child.send({ id: asks, verb, value });
    });
  await ask('begun');
  return {
    pid: child.pid ?? 0,
    ask,
    stop: async () => {
      child.disconnect();
      await exited;
    },
  };
}

/** Whether the file of this URL runs as a child process. @param {string} url */
export function isChild(url) {
  const [, file = '', word] = process.argv;
  return word === 'serve' && url === pathToFileURL(file).href;
}

/**
 * In the child: answers the parent. Questions that are asked at the same time are answered as they
 * come, not one after the other.
 * @param {(options: any) => Record<string, Answer> | Promise<Record<string, Answer>>} begin
 */
export function serve(begin) {
  const begun = Promise.resolve(begin(JSON.parse(process.argv[3] ?? '{}')));
  /** @type {Promise<Record<string, Answer>>} */
  const answers = begun.then((verbs) => ({ ...verbs, begun: () => null }));
  process.on('message', async (/** @type {any} */ { id, verb, value }) => {
    try {
      const answer = (await answers)[verb];
      if (answer === undefined) throw new Error(`expected a verb, found "${verb}"`);
      process.send?.({ id, value: (await answer(value)) ?? null });
    } catch (error) {
      process.send?.({ id, error: error instanceof Error ? error.message : String(error) });
    }
  });
  process.on('disconnect', () => process.exit());
}
