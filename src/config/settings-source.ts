/** I/O: loads the configuration of a running relay again, from the same file and with the environment of the process. */
import { resolve } from 'node:path';
import { messageOf, RelayError } from '../model/errors.js';
import type { Settings } from '../model/vocabulary.js';
import { type FileVersions, unreadVersion, versionOf } from './file-versions.js';
import { checkFile, type Loaded, type LoadOptions, loadedOf, loadSettings } from './load.js';
import { formatMistakes } from './mistakes.js';

export type Reading =
  | { readonly kind: 'valid'; readonly loaded: Loaded }
  | {
      readonly kind: 'invalid';
      /** One line for each mistake. */
      readonly mistakes: readonly string[];
      /** The first problem of the files of each endpoint, by the endpoint's name. */
      readonly endpointProblems: ReadonlyMap<string, string>;
      /** The files that were looked at. */
      readonly versions: FileVersions;
    };

export class SettingsSource {
  readonly #options: LoadOptions;
  /** Applies the options of the command line to the settings. */
  readonly #adjust: (settings: Settings) => Settings;
  /** Of the first load. */
  #file = '';
  #pipes: Loaded['pipes'] = new Map();

  constructor(options: LoadOptions, adjust: (settings: Settings) => Settings) {
    this.#options = options;
    this.#adjust = adjust;
  }

  /** Chooses the file and loads it; rejects as `loadSettings` does. Call before `read`. */
  async load(): Promise<Loaded> {
    const loaded = await loadSettings(this.#options);
    this.#file = loaded.file;
    this.#pipes = loaded.pipes;
    return this.#adjusted(loaded);
  }

  /** Loads the file again. Opens no pipes, which may have no writer. */
  async read(): Promise<Reading> {
    const file = this.#file;
    try {
      const found = await checkFile({
        ...this.#options,
        file,
        withEnvironment: true,
        source: 'regular_file',
        pipes: this.#pipes,
      });
      const { mistakes, endpointProblems, versions } = found;
      if (found.settings !== null)
        return { kind: 'valid', loaded: this.#adjusted(loadedOf(found)) };
      const lines = formatMistakes(mistakes).split('\n');
      return { kind: 'invalid', mistakes: lines, endpointProblems, versions };
    } catch (error) {
      if (!(error instanceof RelayError)) throw error;
      // The file cannot be read.
      const path = resolve(this.#options.cwd, file);
      const versions = new Map([[path, unreadVersion(await versionOf(path))]]);
      return {
        kind: 'invalid',
        mistakes: [messageOf(error)],
        endpointProblems: new Map(),
        versions,
      };
    }
  }

  #adjusted(loaded: Loaded): Loaded {
    return { ...loaded, settings: this.#adjust(loaded.settings) };
  }
}
