/** The file's value against its schema: understood, or what is wrong with it. Pure. */
import type { z } from 'zod';
import { checkTogether } from './check-together.js';
import { type JsonSchema, jsonSchema } from './json-schema.js';
import { type Complaint, isConfidentialPlace } from './mistakes.js';
import { didYouMean, nearest } from './nearest.js';
import { type Path, pathKey, UNRESOLVED, valueAt } from './path.js';
import { type RelayFile, relayFile } from './schema.js';
import { fromIssueText, keyHead, keyHint, shownKey, statement } from './wording.js';

type Issue = z.core.$ZodIssue;

/** The keys that the schema knows at a place of the file. */
function keysAt(schema: JsonSchema, [step, ...rest]: Path): string[] {
  const options = [schema, ...(schema.anyOf ?? [])];
  if (step === undefined) return options.flatMap(({ properties = {} }) => Object.keys(properties));
  return options.flatMap(({ properties, additionalProperties, items }) => {
    const named = properties?.[step] ?? additionalProperties;
    const inner = typeof step === 'number' ? items : named;
    return typeof inner === 'object' ? keysAt(inner, rest) : [];
  });
}

function unknownKey(path: Path, key: string, schema: JsonSchema): Complaint {
  const name = isConfidentialPlace(path) ? '' : ` ${shownKey(key)}`;
  const notes = [keyHint(key), didYouMean(keyHead(key), keysAt(schema, path))];
  const text = [`unknown key${name}`, ...notes.filter((note) => note !== null)].join('; ');
  return { path: [...path, key], about: 'name', wording: statement(text) };
}

/** The places of the keys that were probably meant by unknown ones: they are not missing too. */
function meantPlaces(issues: readonly Issue[], schema: JsonSchema): Set<string> {
  const places = issues.flatMap((issue) => {
    if (issue.code !== 'unrecognized_keys') return [];
    const path = issue.path as (string | number)[];
    return issue.keys.map((key) =>
      pathKey([...path, nearest(keyHead(key), keysAt(schema, path)) ?? key]),
    );
  });
  return new Set(places);
}

/** The branch of a union that the value was meant for: the one whose outermost type fits. */
function meantBranch(branches: readonly Issue[][]): Issue[] | null {
  const fitting = branches.filter((issues) =>
    issues.every(
      ({ path, code }) =>
        path.length > 0 || !['invalid_type', 'invalid_value', 'invalid_union'].includes(code),
    ),
  );
  return fitting.length === 1 ? (fitting[0] ?? null) : null;
}

function complaintsOf(issue: Issue, above: Path, schema: JsonSchema): Complaint[] {
  const path = [...above, ...(issue.path as (string | number)[])];
  switch (issue.code) {
    case 'unrecognized_keys':
      return issue.keys.map((key) => unknownKey(path, key, schema));
    case 'invalid_key':
      return issue.issues.map(({ message }) => ({
        path,
        about: 'name',
        wording: fromIssueText(message),
      }));
    case 'invalid_union': {
      const branch = meantBranch(issue.errors);
      if (branch !== null) return branch.flatMap((inner) => complaintsOf(inner, path, schema));
      return [{ path, about: 'value', wording: fromIssueText(issue.message) }];
    }
    default:
      return [{ path, about: 'value', wording: fromIssueText(issue.message) }];
  }
}

export type Validation =
  | { readonly ok: true; readonly file: RelayFile }
  | { readonly ok: false; readonly complaints: readonly Complaint[] };

/** `root` is the value after interpolation; what is `UNRESOLVED` is not complained of again. */
export function validate(root: unknown): Validation {
  const result = relayFile.safeParse(root);
  const schema = result.success ? {} : jsonSchema();
  const issues = result.error?.issues ?? [];
  const meant = meantPlaces(issues, schema);
  const complaints = issues
    .flatMap((issue) => complaintsOf(issue, [], schema))
    .filter(({ path }) => valueAt(root, path) !== UNRESOLVED)
    .filter(({ path }) => valueAt(root, path) !== undefined || !meant.has(pathKey(path)))
    .concat(checkTogether(root));
  if (result.success && complaints.length === 0) return { ok: true, file: result.data };
  return { ok: false, complaints };
}
