/** Files as Kubernetes mounts a secret: links that lead through one, which is swapped for all. */
import { mkdir, mkdtemp, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

type Files = Readonly<Record<string, string>>;

export class MountedSecret implements AsyncDisposable {
  readonly #folder: string;
  #version = 0;

  private constructor(folder: string) {
    this.#folder = folder;
  }

  static async mount(files: Files): Promise<MountedSecret> {
    const mounted = new MountedSecret(await mkdtemp(join(tmpdir(), 'expiry-relay-secret-')));
    await mounted.swap(files);
    for (const name of Object.keys(files)) {
      await symlink(join('..data', name), mounted.file(name));
    }
    return mounted;
  }

  file(name: string): string {
    return join(this.#folder, name);
  }

  /** Replaces the contents of all files at once; omitted ones are removed. */
  async swap(files: Files): Promise<void> {
    const before = this.#version;
    this.#version += 1;
    const version = `..${this.#version}`;
    await mkdir(join(this.#folder, version));
    for (const [name, text] of Object.entries(files)) {
      await writeFile(join(this.#folder, version, name), text);
    }
    await symlink(version, join(this.#folder, '..data_tmp'));
    await rename(join(this.#folder, '..data_tmp'), join(this.#folder, '..data'));
    await rm(join(this.#folder, `..${before}`), { recursive: true, force: true });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.#folder, { recursive: true, force: true });
  }
}
