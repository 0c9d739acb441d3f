/** The file's value against its schema: understood, or what is wrong with it. Pure. */
import type { z } from 'zod';
import { checkTogether } from './cross-field-checks.js';
import { type JsonSchema, jsonSchema } from './json-schema.js';
import type { Complaint } from './mistakes.js';
import { type Path, pathKey, UNRESOLVED, valueAt } from './path.js';
import { type RelayFile, relayFile } from './schema.js';
import { meantKey, unknownKey } from './unknown-keys.js';
import { fromIssueText } from './wording.js';

type Issue = z.core.$ZodIssue;

/** The places of the keys that were probably meant by unknown ones: they are not missing too. */
function meantPlaces(issues: readonly Issue[], schema: JsonSchema): Set<string> {
  const places = issues.flatMap((issue) => {
    if (issue.code !== 'unrecognized_keys') return [];
    const path = issue.path as (string | number)[];
    return issue.keys.map((key) => pathKey([...path, meantKey(path, key, schema) ?? key]));
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

/** A text has a length as a list has: one that stands for a list is refused for its kind and that. */
function withoutRepeats(complaints: readonly Complaint[]): Complaint[] {
  return [...new Map(complaints.map((each) => [JSON.stringify(each), each])).values()];
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
  const complaints = withoutRepeats(issues.flatMap((issue) => complaintsOf(issue, [], schema)))
    .filter(({ path }) => valueAt(root, path) !== UNRESOLVED)
    .filter(({ path }) => valueAt(root, path) !== undefined || !meant.has(pathKey(path)))
    .concat(checkTogether(root));
  if (result.success && complaints.length === 0) return { ok: true, file: result.data };
  return { ok: false, complaints };
}
