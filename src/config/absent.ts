/**
 * What counts as absent in the file: top-level keys for the operator's own use, and optional texts
 * that are empty, so that `${VAR:-}` means: what VAR says, if anything. Pure.
 */
import { type JsonSchema, jsonSchema, OWN_KEY } from './json-schema.js';
import { asMapping } from './path.js';

/** Without the keys that the relay ignores. Before interpolation: their texts need no variables. */
export function withoutOwnKeys(root: unknown): unknown {
  const file = asMapping(root);
  if (file === null) return root;
  return Object.fromEntries(Object.entries(file).filter(([key]) => !OWN_KEY.test(key)));
}

const optionsOf = (schema: JsonSchema) => [schema, ...(schema.anyOf ?? [])];

const takesText = (schema: JsonSchema) => optionsOf(schema).some(({ type }) => type === 'string');

/** What a mapping may hold under a key: one of the schema's own, or a name of the operator's. */
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

/** Without the optional texts that are empty. After interpolation, which may leave them so. */
export function withoutEmptyTexts(root: unknown): unknown {
  return withoutEmpty(root, jsonSchema());
}
