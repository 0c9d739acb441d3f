/** A MariaDB server with its own data folder and port. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { freePort } from '../../../scripts/lib/free-port.mjs';
import { eventually } from '../eventually.js';
import { type Program, startProgram, succeed } from './program.js';

/** As small as a test needs it. */
const FRUGAL = ['--innodb-buffer-pool-size=16M', '--innodb-log-file-size=4M', '--skip-log-bin'];

export class MariaDb implements AsyncDisposable {
  readonly port: number;
  readonly #folder: string;
  #server: Program;

  private constructor(folder: string, port: number) {
    this.#folder = folder;
    this.port = port;
    this.#server = this.#launch();
  }

  static async start(): Promise<MariaDb> {
    const folder = await mkdtemp(join(tmpdir(), 'expiry-relay-mariadb-'));
    // Neither program runs as root without this option.
    const own = [`--user=${userInfo().username}`, `--datadir=${join(folder, 'data')}`];
    const quick = ['--auth-root-authentication-method=normal', '--skip-test-db'];
    const command = ['mariadb-install-db', '--no-defaults', ...own, ...quick, ...FRUGAL];
    await succeed(command, { cwd: folder, env: {} });
    const mariadb = new MariaDb(folder, await freePort());
    await mariadb.#answers();
    return mariadb;
  }

  /** As root; one line for each row, tabs between the columns. */
  query(sql: string, database = 'mysql'): Promise<string> {
    const words = ['--user=root', '--batch', '--skip-column-names', database, '--execute', sql];
    return succeed(['mariadb', '--no-defaults', this.#socket, ...words], {
      cwd: this.#folder,
      env: {},
    });
  }

  async stop(): Promise<void> {
    await this.#server.stop();
  }

  async restart(): Promise<void> {
    await this.stop();
    this.#server = this.#launch();
    await this.#answers();
  }

  get #socket(): string {
    return `--socket=${join(this.#folder, 'socket')}`;
  }

  #launch(): Program {
    const paths = [`--datadir=${join(this.#folder, 'data')}`, this.#socket];
    const network = ['--bind-address=127.0.0.1', `--port=${this.port}`, '--skip-name-resolve'];
    const user = `--user=${userInfo().username}`;
    const command = ['mariadbd', '--no-defaults', user, ...paths, ...network, ...FRUGAL];
    return startProgram(command, { cwd: this.#folder, env: {} });
  }

  async #answers(): Promise<void> {
    await eventually('MariaDB', () => {
      if (!this.#server.running) throw new Error(`MariaDB has ended\n${this.#server.stderr}`);
      return this.query('SELECT 1').catch(() => '');
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.stop('SIGKILL');
    await rm(this.#folder, { recursive: true, force: true });
  }
}
