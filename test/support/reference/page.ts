/** Markdown of the generated pages in docs/reference. */

/** A page under a title. `parts` are separated by blank lines. */
export function page(title: string, ...parts: readonly string[]): string {
  return `${[`# ${title}`, '<!-- Generated from the code: npm run reference -->', ...parts].join('\n\n')}\n`;
}

/** A table. Cells are Markdown. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
  return [line(head), `|${'---|'.repeat(head.length)}`, ...rows.map(line)].join('\n');
}

/** A code span that may be in a cell of a table. */
export function code(text: string): string {
  return `\`${text.replaceAll('|', '\\|')}\``;
}

/** Plain text that may be in a cell of a table. */
export function plain(text: string): string {
  return text.replaceAll(/[|<>{}*`[\]\\]/g, (character) => `\\${character}`);
}
