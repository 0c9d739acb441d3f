/** The file's contract for editors: the JSON Schema that comes from it. */
import { z } from 'zod';
import { relayFile } from './schema.js';

/** The parts of JSON Schema that ours uses. */
export interface JsonSchema {
  readonly description?: string;
  readonly properties?: Readonly<Record<string, JsonSchema>>;
  readonly additionalProperties?: boolean | JsonSchema;
  readonly items?: JsonSchema;
  readonly anyOf?: readonly JsonSchema[];
  readonly [keyword: string]: unknown;
}

/** For editors: the schema of the file as it is written, before `${VAR}` is replaced. */
export function jsonSchema(): JsonSchema {
  return z.toJSONSchema(relayFile, {
    io: 'input',
    override({ jsonSchema: node }) {
      const { enum: words, pattern } = node;
      if (words === undefined && pattern === undefined) return;
      delete node.enum;
      delete node.pattern;
      const exact = words === undefined ? { pattern } : { enum: words };
      node.anyOf = [exact as z.core.JSONSchema.BaseSchema, { pattern: '\\$\\{' }];
    },
  }) as JsonSchema;
}
