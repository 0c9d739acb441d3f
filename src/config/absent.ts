/**
 * Values that count as absent: top-level keys for the operator's own use, and optional strings that are empty, so
 * that `${VAR:-}` sets an optional value from VAR if VAR is set. Pure.
 */
import { type JsonSchema, jsonSchema, OWN_KEY } from './json-schema.js';
import { asMapping } from './path.js';

/** Removes keys that the relay ignores. Runs before interpolation: their strings need no variables. */
export function withoutOwnKeys(root: unknown): unknown {
  const file = asMapping(root);
  if (file === null) return root;
  return Object.fromEntries(Object.entries(file).filter(([key]) => !OWN_KEY.test(key)));
}

const optionsOf = (schema: JsonSchema) => [schema, ...(schema.anyOf ?? [])];

const takesText = (schema: JsonSchema) => optionsOf(schema).some(({ type }) => type === 'string');

/** The schema of the value under a key: a key of the schema, or a name that the operator chose. */
function valueSchema(
  schema: JsonSchema,
  key: string,
): { readonly schema: JsonSchema; readonly isOptional: boolean } | null {
  for (const { properties, required, additionalProperties } of optionsOf(schema)) {
    const own = properties !== undefined && Object.hasOwn(properties, key) ? properties[key] : null;
    if (own != null) return { schema: own, isOptional: !(required ?? []).includes(key) };
    if (typeof additionalProperties !== 'object') continue;
    return { schema: additionalProperties, isOptional: takesText(additionalProperties) };
  }
  return null;
}

function withoutEmpty(value: unknown, schema: JsonSchema): unknown {
  if (Array.isArray(value)) {
    const items = optionsOf(schema).find((option) => option.items !== undefined)?.items;
    return items === undefined ? value : value.map((item) => withoutEmpty(item, items));
  }
  const mapping = asMapping(value);
  if (mapping === null) return value;
  const kept = Object.entries(mapping).flatMap(([key, inner]) => {
    const found = valueSchema(schema, key);
    if (found === null) return [[key, inner] as const];
    if (inner === '' && found.isOptional) return [];
    return [[key, withoutEmpty(inner, found.schema)] as const];
  });
  return Object.fromEntries(kept);
}

/** Removes empty optional strings. Runs after interpolation, which may produce them. */
export function withoutEmptyTexts(root: unknown): unknown {
  return withoutEmpty(root, jsonSchema());
}
