/** I/O: whether Node could load NODE_EXTRA_CA_CERTS; Node itself only warns. */
import { resolve } from 'node:path';
import { printable } from '../lib/printable.js';
import { defectNote } from '../lib/text-defect.js';
import { readCertificates } from './certificates.js';
import type { Environment } from './interpolate.js';
import { readText } from './read-file.js';
import { SECRET_FILE_BYTES_MAX } from './read-secrets.js';
import { FILE_CHARS_SHOWN_MAX } from './wording.js';

const VARIABLE = 'NODE_EXTRA_CA_CERTS';

/** Describes the problem with the file; null when there is no problem, or no file is named. */
export async function extraCaProblem(env: Environment, cwd: string): Promise<string | null> {
  const file = env[VARIABLE];
  if (!file) return null;
  const read = await readText(resolve(cwd, file), SECRET_FILE_BYTES_MAX, 'regular_file');
  const place = `${VARIABLE} names ${printable(file, FILE_CHARS_SHOWN_MAX)}`;
  if (!read.ok) return `${place}, which Node ignores: ${read.reason}${defectNote(file)}`;
  if (readCertificates(read.text).ok) return null;
  return `${place}, which Node ignores: it holds no certificates in PEM that can be read`;
}
