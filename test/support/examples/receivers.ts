/** How each receiver of examples/receivers is started. */
import { join } from 'node:path';
import { GSON, NODE_PACKAGES } from '../../../scripts/lib/runtimes.mjs';
import { EXAMPLES } from './program.js';

export interface Receiver {
  /** Also the name of its endpoint. */
  readonly name: string;
  /** A runtime that may be missing, by its name in scripts/lib/runtimes.mjs; Node always exists. */
  readonly runtime: string;
  /** What is in the documents. */
  readonly file: string;
  /** What must run first; `folder` is for what it makes. */
  readonly build?: (folder: string) => readonly string[];
  readonly start: (port: string, folder: string) => readonly string[];
}

export const RECEIVERS_FOLDER = join(EXAMPLES, 'receivers');

export const RECEIVERS: readonly Receiver[] = [
  {
    name: 'php',
    runtime: 'php',
    file: 'php/receiver.php',
    start: (port) => ['php', '-S', `127.0.0.1:${port}`, 'php/receiver.php'],
  },
  {
    name: 'python',
    runtime: 'python',
    file: 'python/receiver.py',
    start: () => ['python3', 'python/receiver.py'],
  },
  {
    name: 'node-plain',
    runtime: 'node',
    file: 'node/plain.mjs',
    start: () => [process.execPath, 'node/plain.mjs'],
  },
  ...['express', 'fastify'].map((framework) => ({
    name: `node-${framework}`,
    runtime: NODE_PACKAGES,
    file: `node/${framework}.mjs`,
    start: () => [process.execPath, `node/${framework}.mjs`],
  })),
  {
    name: 'go',
    runtime: 'go',
    file: 'go/receiver.go',
    // `go run` would leave its child behind when it is killed.
    build: (folder) => ['go', 'build', '-o', join(folder, 'receiver'), 'go/receiver.go'],
    start: (_, folder) => [join(folder, 'receiver')],
  },
  {
    name: 'ruby',
    runtime: 'ruby',
    file: 'ruby/receiver.rb',
    start: () => ['ruby', 'ruby/receiver.rb'],
  },
  {
    name: 'java',
    runtime: 'java',
    file: 'java/Receiver.java',
    start: () => ['java', '--class-path', GSON, 'java/Receiver.java'],
  },
  {
    name: 'perl',
    runtime: 'perl',
    file: 'perl/receiver.psgi',
    start: (port) => {
      const listen = ['--listen', `127.0.0.1:${port}`];
      return ['plackup', '--env', 'deployment', ...listen, 'perl/receiver.psgi'];
    },
  },
];
