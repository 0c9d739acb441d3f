/** The JSON Schema of the configuration. */
import { z } from 'zod';
import type { Annotations } from './scalars.js';
import { relayFile } from './schema.js';

/** The parts of JSON Schema that the relay uses. */
export interface JsonSchema extends Annotations {
  readonly description?: string;
  readonly properties?: Readonly<Record<string, JsonSchema>>;
  readonly additionalProperties?: boolean | JsonSchema;
  readonly items?: JsonSchema;
  readonly anyOf?: readonly JsonSchema[];
  readonly required?: readonly string[];
  readonly [keyword: string]: unknown;
}

/** Top-level keys for the operator's own use, such as `x-defaults` with anchors. */
export const OWN_KEY = /^x-/;
const OWN_VALUE = { description: 'For your own use, such as YAML anchors; the relay ignores it' };

/** A text with a variable in it. */
export const VARIABLE = '\\$\\{';

/** Describes the file as written, before `${VAR}` is replaced. */
export function jsonSchema(): JsonSchema {
  return z.toJSONSchema(relayFile, {
    io: 'input',
    override({ jsonSchema: node, path }) {
      if (path.length === 0) node.patternProperties = { [OWN_KEY.source]: OWN_VALUE };
      const { enum: words, pattern } = node;
      if (words === undefined && pattern === undefined) return;
      delete node.enum;
      delete node.pattern;
      const exact = words === undefined ? { pattern } : { enum: words };
      node.anyOf = [exact as z.core.JSONSchema.BaseSchema, { pattern: VARIABLE }];
    },
  }) as JsonSchema;
}
