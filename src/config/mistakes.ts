/** Configuration errors for the operator: `file:line:column: where.it.is: expected …, found …`. Pure. */
import { printable } from '../lib/printable.js';
import { defectOf } from '../lib/text-defect.js';
import { type Path, type Position, pathKey, valueAt } from './path.js';
import {
  isConfidential,
  keyHint,
  kindOf,
  NOT_SHOWN,
  showKey,
  showValue,
  type Wording,
  withHint,
} from './wording.js';

/** More errors are of no use; a hostile file could produce a hundred thousand. */
export const MISTAKES_SHOWN_MAX = 1000;

export interface Mistake {
  /** The path as the operator gave it. */
  readonly file: string;
  readonly line: number;
  readonly column: number;
  readonly message: string;
}

/** An error at a path in the value, not yet located in the file. */
export interface Complaint {
  /** The path of the error; ends in the key when the key is wrong. */
  readonly path: Path;
  /**
   * What is wrong: the value, the content of the file that it names, the presence of the key, or the key's spelling
   * (name).
   */
  readonly about: 'value' | 'content' | 'key' | 'name';
  readonly wording: Wording;
}

/** The context that turns a complaint into a reported error. */
export interface Context {
  readonly file: string;
  /** The value after interpolation. */
  readonly value: unknown;
  /** The `pathKey`s of strings with values from the environment. */
  readonly interpolated: ReadonlySet<string>;
  /** The variable that holds a Kubernetes service link, by `pathKey`. */
  readonly portLinks: ReadonlyMap<string, string>;
  positionOf(path: Path, part: 'key' | 'value'): Position;
}

/** Paths of secrets, including places where secrets are put by mistake; `*` matches one step. */
const CONFIDENTIAL_PLACES: readonly Path[] = [
  ['redis', 'url'],
  ['redis', 'username'],
  ['redis', 'password'],
  ['redis', 'password_file'],
  ['redis', 'tls'],
  ['redis', 'sentinel', 'username'],
  ['redis', 'sentinel', 'password'],
  ['redis', 'sentinel', 'password_file'],
  ['redis', 'sentinel', 'tls'],
  ['state', 'url'],
  ['state', 'username'],
  ['state', 'password'],
  ['state', 'password_file'],
  ['state', 'tls'],
  ['state', 'sentinel', 'username'],
  ['state', 'sentinel', 'password'],
  ['state', 'sentinel', 'password_file'],
  ['state', 'sentinel', 'tls'],
  ['endpoints', '*', 'url'],
  ['endpoints', '*', 'secrets'],
  ['endpoints', '*', 'headers'],
  ['endpoints', '*', 'basic'],
  ['endpoints', '*', 'tls'],
  ['endpoints', '*', 'proxy'],
];

export function isConfidentialPlace(path: Path): boolean {
  return CONFIDENTIAL_PLACES.some((place) =>
    place.every((step, index) => path.length > index && (step === '*' || step === path[index])),
  );
}

/** `endpoints.shop.retry.schedule[2]`; empty for the whole file. */
export function formatPath(path: Path): string {
  return path
    .map((step, index) => {
      if (typeof step === 'number') return `[${step}]`;
      const key = /^[\w-]+$/.test(step) && !isConfidential(step) ? step : `(${showKey(step)})`;
      return index === 0 ? key : `.${key}`;
    })
    .join('');
}

/** Strings that may contain blanks and quotes. */
function isFreeText([section, , field]: Path): boolean {
  return section === 'routes' && field === 'body';
}

/** Explains a rejected value without showing it. */
function explanations({ path, about }: Complaint, found: unknown, context: Context): string[] {
  const isRead = about === 'value' || about === 'name';
  if (!isRead || typeof found !== 'string' || isFreeText(path)) return [];
  const variable = context.portLinks.get(pathKey(path));
  const link =
    `${variable} holds a service link of Kubernetes (tcp://…): give the variable another name, ` +
    "or set enableServiceLinks: false in the pod's spec";
  const defect = defectOf(found);
  return [
    ...(defect === null ? [] : [`it ${defect}`]),
    ...(about === 'value' && variable !== undefined ? [link] : []),
  ];
}

/** `explained` precedes the advice. */
function formatWording(
  wording: Wording,
  found: unknown,
  mayShow: boolean,
  explained: readonly string[] = [],
): string {
  switch (wording.kind) {
    case 'statement':
      return printable(wording.text, Number.POSITIVE_INFINITY);
    case 'mismatch': {
      const isText = typeof found === 'string' && found !== '';
      const hidden = isText ? NOT_SHOWN : kindOf(found);
      const what = wording.found ?? (mayShow ? showValue(found) : hidden);
      const parts = [mayShow ? wording.quoting : null, wording.hint];
      const notes = [...explained, ...parts.filter((note) => note !== null)];
      const brackets = notes.length > 0 ? ` (${notes.join('; ')})` : '';
      return `expected ${wording.expected}, found ${what}${brackets}`;
    }
  }
}

/** For syntax errors: the message shows nothing of the file. */
export function syntaxMistake(file: string, { line, column }: Position, wording: Wording): Mistake {
  return { file, line, column, message: formatWording(wording, undefined, false) };
}

/** Shows the key partly, with a hint derived from it. */
function withKey(wording: Wording, key: string): Wording {
  if (wording.kind === 'statement') return wording;
  const shown = { ...wording, found: wording.found ?? showKey(key) };
  const hint = keyHint(key);
  return hint === null ? shown : withHint(shown, hint);
}

export function toMistake(complaint: Complaint, context: Context): Mistake {
  const { path, about, wording } = complaint;
  const key = path.at(-1);
  const where = formatPath(about === 'name' ? path.slice(0, -1) : path);
  const found = about === 'name' ? key : valueAt(context.value, path);
  const isHidden = context.interpolated.has(pathKey(path)) || isConfidentialPlace(path);
  const mayShow = about === 'name' || !isHidden;
  const ofKey = about === 'name' && typeof key === 'string' ? withKey(wording, key) : wording;
  const text = formatWording(ofKey, found, mayShow, explanations(complaint, found, context));
  const isKey = about === 'key' || about === 'name';
  const position = context.positionOf(path, isKey ? 'key' : 'value');
  return {
    file: context.file,
    ...position,
    message: where === '' ? text : `${where}: ${text}`,
  };
}

/** The message without a position and without the value found. */
export function problemText({ path, wording }: Complaint): string {
  return `${formatPath(path)}: ${formatWording(wording, undefined, false)}`;
}

/** One error per line, by position. */
export function formatMistakes(mistakes: readonly Mistake[]): string {
  const sorted = mistakes.toSorted((a, b) => a.line - b.line || a.column - b.column);
  const lines = sorted
    .slice(0, MISTAKES_SHOWN_MAX)
    .map(({ file, line, column, message }) => `${file}:${line}:${column}: ${message}`);
  const left = sorted.length - lines.length;
  return (left > 0 ? [...lines, `and ${left} more`] : lines).join('\n');
}
