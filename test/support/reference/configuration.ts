/** Builds docs/reference/configuration.md from the schema. */
import { type JsonSchema, jsonSchema, VARIABLE } from '../../../src/config/json-schema.js';
import { needsRestart } from '../../../src/config/reload-decision.js';
import { code, page, plain, table } from './page.js';

const HEAD = ['key', 'type', 'default', 'values', 'restart', 'description'];

const INTRODUCTION = `Every key of the configuration file, with its type, default and values. [Configuration](../configuration.md) describes the
file, its variables and its units. [\`relay.example.yaml\`](../../relay.example.yaml) has every key with a comment.

**restart** is \`no\` if a change takes effect by a [reload](../operations/reloading.md), and \`yes\` if it needs a restart of
the relay. \`path\` means that only a new path needs one: the relay reads the content of the file again.`;

/** Each key as a row, with the path that leads to it. */
function* rowsOf(
  schema: JsonSchema,
  path: string,
  isRequired: boolean,
): Generator<readonly string[]> {
  if (schema.description !== undefined) yield rowOf(schema, path, isRequired);
  for (const [name, property] of Object.entries(schema.properties ?? {})) {
    const required = schema.required as readonly string[] | undefined;
    yield* rowsOf(property, `${path}.${name}`, required?.includes(name) ?? false);
  }
  const { additionalProperties: named, items, anyOf = [] } = schema;
  if (typeof named === 'object') yield* rowsOf(named, `${path}.<name>`, false);
  if (items !== undefined) yield* rowsOf(items, `${path}[]`, false);
  for (const one of anyOf) yield* rowsOf(one, path, false);
}

function rowOf(schema: JsonSchema, path: string, isRequired: boolean): readonly string[] {
  const given = schema.default;
  const isSection = schema.properties !== undefined || typeof given === 'object';
  const shown = isSection && !Array.isArray(given) ? '' : code(yamlOf(given));
  return [
    code(path),
    typeOf(schema),
    isRequired ? 'required' : given === undefined ? '' : shown,
    valuesOf(schema),
    restartOf(path, schema),
    plain(schema.description ?? ''),
  ];
}

/** Sections whose keys differ in that. */
const MIXED_SECTIONS = ['state', 'log'];

function restartOf(path: string, schema: JsonSchema): string {
  if (MIXED_SECTIONS.includes(path)) return '';
  if (!needsRestart(path)) return 'no';
  return schema['x-reload'] === true ? 'path' : 'yes';
}

function yamlOf(value: unknown): string {
  return Array.isArray(value) ? `[${value.join(', ')}]` : String(value);
}

/** The alternatives of a value, without a variable in its place. */
const alternativesOf = ({ anyOf = [] }: JsonSchema) =>
  anyOf.filter(({ pattern }) => pattern !== VARIABLE);

function typeOf(schema: JsonSchema): string {
  if (schema['x-type'] !== undefined) return schema['x-type'];
  if (schema.const !== undefined) return code(String(schema.const));
  if (schema.items !== undefined)
    return `list of ${typeOf(schema.items).replaceAll(/\w+\b(?<!\bor)/g, '$&s')}`;
  if (schema.additionalProperties !== undefined || schema.properties !== undefined) {
    return 'mapping';
  }
  if (schema.type === 'string') return 'string';
  const [first, ...others] = alternativesOf(schema);
  if (first === undefined) return schema.type === undefined ? 'any' : String(schema.type);
  // A number may also stand in quotes.
  if (['integer', 'number', 'boolean'].includes(String(first.type))) return String(first.type);
  return [first, ...others].map(typeOf).join(' or ');
}

/** `single`: the values of an item that may also stand without a list. */
function valuesOf(schema: JsonSchema, single = ''): string {
  if (schema['x-range'] !== undefined) return schema['x-range'];
  const words = wordsOf(schema);
  if (words !== null) return words.map((word) => code(String(word))).join(', ');
  if (schema['x-values'] !== undefined) return plain(schema['x-values']);
  if (schema.items !== undefined) {
    const { minItems, maxItems } = schema;
    const count =
      minItems === maxItems ? `${minItems} item` : `${rangeText(minItems, maxItems)} items`;
    const each = valuesOf(schema.items);
    return each === '' || each === single ? count : `${count}, each ${each}`;
  }
  const { minimum, maximum } = schema;
  if (minimum !== undefined) return rangeText(minimum, maximum);
  const [first, ...others] = alternativesOf(schema);
  if (first === undefined) return '';
  const one = valuesOf(first);
  return [one, ...others.map((other) => valuesOf(other, one))]
    .filter((text) => text !== '')
    .join('; ');
}

const rangeText = (min: unknown, max: unknown) =>
  [min, max].map((limit) => Number(limit).toLocaleString('en-US')).join(' to ');

/** The only values that a key may have; null if there are others. */
function wordsOf(schema: JsonSchema): readonly unknown[] | null {
  const [first] = alternativesOf(schema);
  if (first?.type === 'boolean') return [true, false];
  const words = schema.enum ?? (first?.pattern === undefined ? first?.enum : undefined);
  return (words as readonly unknown[] | undefined) ?? null;
}

/** The whole page. */
export function configurationReference(): string {
  const { properties = {}, required } = jsonSchema();
  const sections = Object.entries(properties).flatMap(([name, section]) => {
    const isRequired = (required as readonly string[]).includes(name);
    return [`## ${code(name)}`, table(HEAD, [...rowsOf(section, name, isRequired)])];
  });
  return page('Configuration keys', INTRODUCTION, ...sections);
}
