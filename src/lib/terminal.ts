/** Terminals: whether they show colors, and how text is colored and wrapped. Pure. */
import { styleText } from 'node:util';

type Format = Parameters<typeof styleText>[0];

/** Colors a text, or leaves it as it is. */
export type Paint = (format: Format, text: string) => string;

/** Whether to color an output: terminals only, and not with `NO_COLOR` (https://no-color.org). */
export function isColored(
  output: { readonly isTTY?: boolean },
  env: Readonly<Record<string, string | undefined>>,
): boolean {
  return output.isTTY === true && !env.NO_COLOR && env.TERM !== 'dumb';
}

export function paintFor(colored: boolean): Paint {
  return (format, text) => (colored ? styleText(format, text, { validateStream: false }) : text);
}

/** Below this width, wrapped text is harder to read than text that the terminal breaks. */
const WIDTH_MIN = 20;

/**
 * Breaks a text at spaces into lines of at most `width` characters; longer words stay whole. Infinity for one
 * line.
 */
export function wrap(text: string, width: number): readonly string[] {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    if (line === '') line = word;
    else if (line.length + 1 + word.length <= Math.max(width, WIDTH_MIN)) line += ` ${word}`;
    else {
      lines.push(line);
      line = word;
    }
  }
  return [...lines, line];
}
