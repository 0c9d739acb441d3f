/** Reads the log events from the calls of the logger in src/telemetry. Inserted values become `…`. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type ParseResult, parse } from '@babel/parser';
import type { Expression, Node, ObjectExpression } from '@babel/types';
import { ROOT } from '../doc-pages.js';

const FOLDER = join(ROOT, 'src/telemetry');

export const LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal'];

const INSERTED = '…';

/** A call of the logger: one event at one level, or at one of several. */
export interface LogCall {
  readonly events: readonly string[];
  readonly levels: readonly string[];
  /** More than one where the code chooses. */
  readonly messages: readonly string[];
  /** Without `event`. */
  readonly fields: readonly string[];
  /** Where the sources have its `event`. */
  readonly position: string;
}

/** The sources in src/telemetry by the names of the files. */
export function telemetrySources(): ReadonlyMap<string, string> {
  const files = readdirSync(FOLDER).filter((file) => file.endsWith('.ts'));
  return new Map(files.map((file) => [file, readFileSync(join(FOLDER, file), 'utf8')]));
}

/** Throws at a call that it cannot read. */
export function readLogCalls(file: string, source: string): readonly LogCall[] {
  return new Reader(file, parse(source, { sourceType: 'module', plugins: ['typescript'] })).calls();
}

/** The constants of a block by name; null for a parameter, which hides a constant outside. */
type Scope = ReadonlyMap<string, Expression | null>;

interface Property {
  readonly name: string;
  readonly value: Node;
}

class Reader {
  readonly #file: string;
  readonly #program: Node;
  readonly #functions = new Map<string, Node>();
  readonly #calls: LogCall[] = [];

  constructor(file: string, { program }: ParseResult) {
    this.#file = file;
    this.#program = program;
    for (const node of program.body) {
      if (node.type === 'FunctionDeclaration' && node.id) this.#functions.set(node.id.name, node);
    }
  }

  calls(): readonly LogCall[] {
    this.#visit(this.#program, []);
    return this.#calls;
  }

  #visit(node: Node, outer: readonly Scope[]): void {
    const scopes = [scopeOf(node), ...outer];
    if (node.type === 'CallExpression') {
      const { callee, arguments: given } = node;
      if (callee.type === 'MemberExpression' && isLog(callee.object)) {
        const { property } = callee;
        const levels = callee.computed ? textsOf(property, scopes) : [nameOf(property)];
        const [fields, message] = given;
        if (levels.every((level) => LEVELS.includes(level)) && fields && message) {
          this.#addCall(levels, fields, message, scopes);
        }
      }
    }
    for (const child of childrenOf(node)) this.#visit(child, scopes);
  }

  #addCall(levels: readonly string[], fields: Node, message: Node, scopes: readonly Scope[]): void {
    const properties = this.#propertiesOf(fields, scopes);
    const event = properties.find(({ name }) => name === 'event');
    const events = event === undefined ? [] : textsOf(event.value, scopes);
    if (event === undefined || events.length === 0 || events.some((one) => !/^\w+$/.test(one))) {
      throw this.#unreadable(fields, 'the event');
    }
    const names = properties.map(({ name }) => name).filter((name) => name !== 'event');
    this.#calls.push({
      events,
      levels,
      messages: [...new Set(textsOf(message, scopes))],
      fields: [...new Set(names)],
      position: `${this.#file}:${event.value.loc?.start.line}`,
    });
  }

  /** The properties of an object that is written out, spread, chosen, or returned by a function of the file. */
  #propertiesOf(node: Node, scopes: readonly Scope[]): readonly Property[] {
    switch (node.type) {
      case 'ObjectExpression':
        return node.properties.flatMap((property) => {
          if (property.type === 'SpreadElement')
            return this.#propertiesOf(property.argument, scopes);
          if (property.type === 'ObjectMethod') throw this.#unreadable(property, 'a field');
          return [{ name: nameOf(property.key), value: property.value }];
        });
      case 'ConditionalExpression':
        return [node.consequent, node.alternate].flatMap((one) => this.#propertiesOf(one, scopes));
      case 'Identifier': {
        const found = resolve(node.name, scopes);
        if (found !== null) return this.#propertiesOf(found, scopes);
        break;
      }
      case 'CallExpression': {
        const called = this.#functions.get(nameOf(node.callee));
        if (called !== undefined) {
          const inner = [scopeOf(called), ...scopes.slice(-1)];
          return returnsOf(called).flatMap((one) => this.#propertiesOf(one, inner));
        }
      }
    }
    throw this.#unreadable(node, 'the fields');
  }

  #unreadable({ loc }: Node, what: string): Error {
    return new Error(`${this.#file}:${loc?.start.line}: cannot read ${what} of a log line`);
  }
}

/** `log` or `this.#log`. */
function isLog(node: Node): boolean {
  return nameOf(node.type === 'MemberExpression' ? node.property : node) === 'log';
}

function nameOf(node: Node): string {
  if (node.type === 'Identifier') return node.name;
  if (node.type === 'PrivateName') return node.id.name;
  return '';
}

/** The texts that an expression may have. */
function textsOf(node: Node, scopes: readonly Scope[]): readonly string[] {
  switch (node.type) {
    case 'StringLiteral':
      return [node.value];
    case 'TemplateLiteral':
      return concatenations(
        node.quasis.flatMap(({ value }, at) => {
          const inserted = node.expressions[at];
          const text = [value.cooked ?? ''];
          return inserted === undefined ? [text] : [text, textsOf(inserted, scopes)];
        }),
      );
    case 'BinaryExpression':
      return concatenations([textsOf(node.left, scopes), textsOf(node.right, scopes)]);
    case 'ConditionalExpression':
      return [...textsOf(node.consequent, scopes), ...textsOf(node.alternate, scopes)];
    case 'Identifier': {
      const found = resolve(node.name, scopes);
      return found === null ? [INSERTED] : textsOf(found, scopes);
    }
    case 'MemberExpression': {
      const table = node.computed ? resolve(nameOf(node.object), scopes) : null;
      return table?.type === 'ObjectExpression' ? valuesOf(table, scopes) : [INSERTED];
    }
    default:
      return [INSERTED];
  }
}

function valuesOf({ properties }: ObjectExpression, scopes: readonly Scope[]): readonly string[] {
  return properties.flatMap((property) =>
    property.type === 'ObjectProperty' ? textsOf(property.value, scopes) : [],
  );
}

/** Every way to choose one text of each part, concatenated. */
function concatenations(parts: readonly (readonly string[])[]): readonly string[] {
  return parts
    .reduce<readonly string[]>(
      (texts, part) => texts.flatMap((text) => part.map((next) => text + next)),
      [''],
    )
    .map((text) => text.replaceAll(/…+/g, INSERTED));
}

function resolve(name: string, scopes: readonly Scope[]): Expression | null {
  return scopes.find((scope) => scope.has(name))?.get(name) ?? null;
}

/** The names that a node declares for its children. */
function scopeOf(node: Node): Scope {
  const scope = new Map<string, Expression | null>();
  if ('params' in node && Array.isArray(node.params)) {
    for (const param of node.params) {
      for (const name of declaredBy(param as Node)) scope.set(name, null);
    }
  }
  const statements =
    node.type === 'Program' || node.type === 'BlockStatement'
      ? node.body
      : node.type === 'SwitchCase'
        ? node.consequent
        : [];
  for (const statement of statements) {
    const declaration =
      statement.type === 'ExportNamedDeclaration' ? statement.declaration : statement;
    if (declaration?.type !== 'VariableDeclaration') continue;
    for (const { id, init } of declaration.declarations) {
      const isReadable = declaration.kind === 'const' && id.type === 'Identifier';
      for (const name of declaredBy(id)) scope.set(name, isReadable ? (init ?? null) : null);
    }
  }
  return scope;
}

/** The names in a parameter or a pattern. */
function declaredBy(node: Node): readonly string[] {
  switch (node.type) {
    case 'Identifier':
      return [node.name];
    case 'ObjectProperty':
      return declaredBy(node.value);
    case 'ObjectPattern':
    case 'ArrayPattern':
    case 'AssignmentPattern':
    case 'RestElement':
      return childrenOf(node).flatMap(declaredBy);
    default:
      return [];
  }
}

function returnsOf(node: Node): readonly Expression[] {
  if (node.type === 'ReturnStatement') return node.argument ? [node.argument] : [];
  return childrenOf(node).flatMap(returnsOf);
}

function childrenOf(node: Node): readonly Node[] {
  return Object.values(node).flat().filter(isNode);
}

function isNode(value: unknown): value is Node {
  return typeof value === 'object' && value !== null && 'type' in value && 'loc' in value;
}
