/** Validates the configuration's value against the schema. Pure. */
import type { z } from 'zod';
import { checkTogether } from './cross-field-checks.js';
import { type JsonSchema, jsonSchema } from './json-schema.js';
import type { Complaint } from './mistakes.js';
import { type Path, pathKey, UNRESOLVED, valueAt } from './path.js';
import { type RelayFile, relayFile } from './schema.js';
import { suggestKey, unknownKey } from './unknown-keys.js';
import { fromIssueText } from './wording.js';

type Issue = z.core.$ZodIssue;

/** The paths of keys that unknown keys were probably meant as, which are not reported as missing. */
function suggestedPlaces(issues: readonly Issue[], schema: JsonSchema): Set<string> {
  const places = issues.flatMap((issue) => {
    if (issue.code !== 'unrecognized_keys') return [];
    const path = issue.path as (string | number)[];
    return issue.keys.map((key) => pathKey([...path, suggestKey(path, key, schema) ?? key]));
  });
  return new Set(places);
}

/** The branch of a union that the value was meant for: the branch whose outermost type matches. */
function closestBranch(branches: readonly Issue[][]): Issue[] | null {
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
      const branch = closestBranch(issue.errors);
      if (branch !== null) return branch.flatMap((inner) => complaintsOf(inner, path, schema));
      return [{ path, about: 'value', wording: fromIssueText(issue.message) }];
    }
    default:
      return [{ path, about: 'value', wording: fromIssueText(issue.message) }];
  }
}

/** Removes repeated errors: a string in place of a list fails both its type and its length. */
function dropRepeats(complaints: readonly Complaint[]): Complaint[] {
  return [...new Map(complaints.map((each) => [JSON.stringify(each), each])).values()];
}

export type Validation =
  | { readonly ok: true; readonly file: RelayFile }
  | { readonly ok: false; readonly complaints: readonly Complaint[] };

/** `root`: the value after interpolation; `UNRESOLVED` values are not reported again. */
export function validate(root: unknown): Validation {
  const result = relayFile.safeParse(root);
  const schema = result.success ? {} : jsonSchema();
  const issues = result.error?.issues ?? [];
  const meant = suggestedPlaces(issues, schema);
  const complaints = dropRepeats(issues.flatMap((issue) => complaintsOf(issue, [], schema)))
    .filter(({ path }) => valueAt(root, path) !== UNRESOLVED)
    .filter(({ path }) => valueAt(root, path) !== undefined || !meant.has(pathKey(path)))
    .concat(checkTogether(root));
  if (result.success && complaints.length === 0) return { ok: true, file: result.data };
  return { ok: false, complaints };
}
