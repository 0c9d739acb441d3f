/** The edge: whether Node could use the file of NODE_EXTRA_CA_CERTS; when not, it only warns. */
import { resolve } from 'node:path';
import { printable } from '../lib/printable.js';
import { defectNote } from '../lib/text-defect.js';
import { readCertificates } from './certificates.js';
import type { Environment } from './interpolate.js';
import { SECRET_FILE_BYTES_MAX } from './live-files.js';
import { readText } from './read-file.js';
import { FILE_CHARS_SHOWN_MAX } from './wording.js';

const VARIABLE = 'NODE_EXTRA_CA_CERTS';

/** What is wrong with that file, in words; null when nothing is, or when none is named. */
export async function extraCaProblem(env: Environment, cwd: string): Promise<string | null> {
  const file = env[VARIABLE];
  if (!file) return null;
  const read = await readText(resolve(cwd, file), SECRET_FILE_BYTES_MAX, 'regular_file');
  const place = `${VARIABLE} names ${printable(file, FILE_CHARS_SHOWN_MAX)}`;
  if (!read.ok) return `${place}, which Node ignores: ${read.reason}${defectNote(file)}`;
  if (readCertificates(read.text).ok) return null;
  return `${place}, which Node ignores: it holds no certificates in PEM that can be read`;
}
