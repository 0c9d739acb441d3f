import { loadSettings } from '../config/load.js';
import { pluralize } from '../lib/pluralize.js';
import { printable } from '../lib/printable.js';
import { publicKeysOf } from '../signing/sign.js';
import type { CommandAction, FileOption } from './context.js';

/** Validates the configuration alone; rejects with every error in it. */
export const check: CommandAction<FileOption> = async ({ env, cwd, stdout }, { config }) => {
  const { file, settings } = await loadSettings({ file: config, env, cwd });
  const routes = pluralize(settings.routes.length, 'route');
  stdout.write(
    `${printable(file)}: fine (${routes}, ${pluralize(settings.endpoints.size, 'endpoint')})\n`,
  );
  for (const { name, secrets } of settings.endpoints.values()) {
    for (const publicKey of publicKeysOf(secrets)) {
      stdout.write(`endpoint ${name}: its receivers verify with ${publicKey}\n`);
    }
  }
  return 0;
};
