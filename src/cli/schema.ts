import { editorSchema } from '../config/editor-schema.js';
import type { CliContext, ExitCode } from './context.js';

/** Prints the JSON Schema of relay.yaml, for editors. */
export async function schema({ stdout }: CliContext): Promise<ExitCode> {
  stdout.write(`${JSON.stringify(editorSchema(), null, 2)}\n`);
  return 0;
}
