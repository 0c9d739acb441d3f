/** The JSON Schema that `expiry-relay schema` prints, for editors. Pure. */
import { type JsonSchema, jsonSchema, VARIABLE } from './json-schema.js';

/** Relative: the schema is saved beside the configuration. */
const ID = 'relay.schema.json';

const TITLE = 'Configuration of expiry-relay';

/** Examples by path; `*` stands for a name, and for an item of a list. */
export const EXAMPLES: Readonly<Record<string, readonly unknown[]>> = {
  '': [
    {
      endpoints: {
        shop: { url: 'http://127.0.0.1:8080/hooks', secrets: [`\${WEBHOOK_SECRET}`] },
      },
      routes: [{ name: 'cancel', match: 'order:{id}:unpaid', to: 'shop' }],
    },
  ],
  'redis.url': ['redis://127.0.0.1:6379', 'rediss://cache:6380/2', 'unix:///run/redis.sock?db=2'],
  'redis.sentinel.master': ['mymaster'],
  'redis.sentinel.nodes': [['10.0.0.1:26379', '10.0.0.2:26379', '10.0.0.3:26379']],
  'redis.sentinel.password_file': ['/run/secrets/sentinel-password'],
  'redis.databases': [[0], [0, 2]],
  'redis.password_file': ['/run/secrets/redis-password'],
  'state.sentinel.master': ['mymaster'],
  'state.sentinel.nodes': [['10.0.0.1:26379', '10.0.0.2:26379', '10.0.0.3:26379']],
  'state.url': ['redis://127.0.0.1:6380'],
  'state.prefix': ['shop-relay'],
  'state.dead_letters.keep': ['30d', '1w'],
  'endpoints.*.url': ['http://127.0.0.1:8080/hooks', 'https://shop.example/hooks'],
  'endpoints.*.secrets': [[`\${WEBHOOK_SECRET}`], [{ file: 'shop.secret' }], 'none'],
  'endpoints.*.headers': [{ authorization: `Bearer \${SHOP_TOKEN}` }],
  'endpoints.*.timeout': ['15s'],
  'endpoints.*.rate_limit': ['100/s', '600/m'],
  'endpoints.*.retry.schedule': [['1s', '1m', '1h30m']],
  'endpoints.*.proxy': ['http://proxy:3128'],
  'routes.*.name': ['cancel-unpaid-orders'],
  'routes.*.match': ['order:{id}:unpaid', ['session:*', 'cart:*']],
  'routes.*.to': ['shop', ['shop', 'audit']],
  'routes.*.type': ['order.payment_expired'],
  'routes.*.path': ['/orders/{id}/cancel'],
  'routes.*.body': [{ order: '{id}' }, 'none'],
  'routes.*.lookup': ['order:{id}'],
  'routes.*.value_max': ['16KiB'],
  'admin.listen': ['127.0.0.1:9464', ':9464'],
  'shutdown.grace': ['25s'],
};

/**
 * The schema with a title and examples. Alternatives are written so that a validator reports one error for a wrong
 * value, not one for each alternative.
 */
export function editorSchema(): JsonSchema {
  const { $schema, ...rest } = withExamples(jsonSchema(), []);
  return oneCause({ $schema, $id: ID, title: TITLE, ...rest });
}

function withExamples(schema: JsonSchema, path: readonly string[]): JsonSchema {
  const { properties, additionalProperties, items, anyOf, description } = schema;
  const range = schema['x-range'];
  const examples = EXAMPLES[path.join('.')];
  const inner = (one: JsonSchema, step: string) => withExamples(one, [...path, step]);
  return {
    ...schema,
    ...(description && range ? { description: `${description}, ${range}` } : {}),
    ...(examples === undefined ? {} : { examples }),
    ...(properties === undefined
      ? {}
      : {
          properties: Object.fromEntries(
            Object.entries(properties).map(([name, one]) => [name, inner(one, name)]),
          ),
        }),
    ...(typeof additionalProperties === 'object'
      ? { additionalProperties: inner(additionalProperties, '*') }
      : {}),
    ...(items === undefined ? {} : { items: inner(items, '*') }),
    ...(anyOf === undefined ? {} : { anyOf: anyOf.map((one) => ({ ...one })) }),
  };
}

function isSchema(value: unknown): value is JsonSchema {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Applies `alternatives` at every depth, without annotations; examples and defaults hold no alternatives. */
function oneCause(schema: JsonSchema): JsonSchema {
  const keywords = Object.entries(schema).filter(([keyword]) => !keyword.startsWith('x-'));
  const walked = keywords.map(([keyword, value]) => {
    if (Array.isArray(value) && keyword === 'anyOf') return [keyword, value.map(oneCause)];
    if (!isSchema(value) || keyword === 'default') return [keyword, value];
    if (keyword !== 'properties' && keyword !== 'patternProperties') {
      return [keyword, oneCause(value)];
    }
    const each = Object.entries(value).map(([name, one]) => [name, oneCause(one as JsonSchema)]);
    return [keyword, Object.fromEntries(each)];
  });
  const { anyOf, ...rest } = Object.fromEntries(walked) as JsonSchema;
  const [one, other] = anyOf ?? [];
  if (one === undefined || other === undefined) return rest;
  return { ...rest, ...alternatives(one, other) };
}

function alternatives(one: JsonSchema, other: JsonSchema): JsonSchema {
  // A word or a quantity, or a text with a variable in it.
  if (other.pattern === VARIABLE) {
    if (one.pattern !== undefined) return { pattern: `${one.pattern}|${VARIABLE}` };
    return { if: { pattern: VARIABLE }, else: one };
  }
  if (one.type === 'boolean') {
    const words = [true, false, 'true', 'false'];
    return { type: ['boolean', 'string'], if: { pattern: VARIABLE }, else: { enum: words } };
  }
  if (one.type === 'integer' || one.type === 'number')
    return { ...one, type: [one.type, 'string'] };
  // biome-ignore lint/suspicious/noThenProperty: a keyword of JSON Schema
  return { if: { type: other.type }, then: other, else: one };
}
