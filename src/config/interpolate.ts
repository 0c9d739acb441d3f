/** Replaces `${VAR}` in parsed strings, so that a variable's value is never parsed as YAML. */
import { asMapping, type Path, pathKey, UNRESOLVED } from './path.js';
import { mismatch, statement, type Wording } from './wording.js';

export type Environment = Readonly<Record<string, string | undefined>>;

interface Unresolved {
  readonly wording: Wording;
  /** The text between `${` and `}`. */
  readonly inside: string;
}

export interface InterpolatedText {
  readonly text: string;
  /** Whether a variable was replaced: the string must then not be shown. */
  readonly changed: boolean;
  /** The variable that holds a Kubernetes service link; null when none does. */
  readonly portLink: string | null;
  /** Whether all variables were replaced. */
  readonly isComplete: boolean;
  readonly mistakes: readonly Unresolved[];
}

/**
 * Kubernetes sets such a variable for each Service, and its name may collide with the operator's variable for a
 * port.
 */
const PORT_VARIABLE = /_PORT$/;
const PORT_LINK = /^(?:tcp|udp|sctp):\/\//;

const OPENINGS = /\$\$\{|\$\{([^}]*)(\})?/g;
const REFERENCE = /^([A-Za-z_][A-Za-z0-9_]*)(?:(:-|:\?)([\s\S]*))?$/;

/** Null for a variable of an environment that is not known. */
function resolveReference(inside: string, env: Environment | null): string | Wording | null {
  const [, name, operator, rest = ''] = REFERENCE.exec(inside) ?? [];
  if (name === undefined || rest.includes('${')) {
    return mismatch(`\${NAME}, \${NAME:-default} or \${NAME:?message}`, {
      found: rest.includes('${') ? `one \${…} inside another` : 'other characters after ${',
      hint: 'for a literal ${ write $${',
    });
  }
  if (env === null) return operator === ':-' ? rest : null;
  const value = env[name];
  if (operator === ':-') return value === undefined || value === '' ? rest : value;
  if (operator === ':?') {
    if (value !== undefined && value !== '') return value;
    return statement(`the environment variable ${name} is unset or empty: ${rest || 'required'}`);
  }
  if (value !== undefined) return value;
  return statement(`the environment variable ${name} is not set`);
}

/** `env`: null when the environment is not known. */
export function interpolateText(text: string, env: Environment | null): InterpolatedText {
  const mistakes: Unresolved[] = [];
  let isComplete = true;
  let changed = false;
  let portLink: string | null = null;
  const replaced = text.replace(OPENINGS, (opening: string, inside = '', close?: string) => {
    if (opening === '$${') return '${';
    changed = true;
    const resolved =
      close === undefined
        ? mismatch('a } after ${', { found: 'none', hint: 'for a literal ${ write $${' })
        : resolveReference(inside, env);
    if (typeof resolved === 'string') {
      const [, name = ''] = REFERENCE.exec(inside) ?? [];
      if (PORT_VARIABLE.test(name) && PORT_LINK.test(resolved)) portLink ??= name;
      return resolved;
    }
    isComplete = false;
    if (resolved !== null) mistakes.push({ wording: resolved, inside });
    return '';
  });
  return { text: replaced, changed, portLink, isComplete, mistakes };
}

export interface Interpolated {
  readonly value: unknown;
  /** The `pathKey`s of strings with replaced variables. */
  readonly changed: ReadonlySet<string>;
  /** See `Context`. */
  readonly portLinks: ReadonlyMap<string, string>;
  readonly complaints: readonly (Unresolved & { readonly path: Path })[];
}

/**
 * Replaces variables in every string of the value, never in keys. `env`: null when the environment is not known;
 * variables without a default then leave their string unresolved.
 */
export function interpolate(root: unknown, env: Environment | null): Interpolated {
  const changed = new Set<string>();
  const portLinks = new Map<string, string>();
  const complaints: (Unresolved & { path: Path })[] = [];

  function visit(value: unknown, path: Path): unknown {
    if (Array.isArray(value)) return value.map((item, index) => visit(item, [...path, index]));
    const mapping = asMapping(value);
    if (mapping !== null) {
      const entries = Object.entries(mapping);
      return Object.fromEntries(entries.map(([key, item]) => [key, visit(item, [...path, key])]));
    }
    if (typeof value !== 'string') return value;
    const done = interpolateText(value, env);
    if (done.changed) changed.add(pathKey(path));
    if (done.portLink !== null) portLinks.set(pathKey(path), done.portLink);
    complaints.push(...done.mistakes.map((mistake) => ({ path, ...mistake })));
    return done.isComplete ? done.text : UNRESOLVED;
  }

  return { value: visit(root, []), changed, portLinks, complaints };
}
