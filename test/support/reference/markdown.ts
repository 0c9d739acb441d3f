/** Markdown for the generated pages of the documentation. */

/** The first line of every generated page. */
export const GENERATED = '<!-- Generated from the code: npm run reference -->';

export function table(
  head: readonly string[],
  rows: readonly (readonly string[])[],
): readonly string[] {
  return [row(head), row(head.map(() => '---')), ...rows.map(row)];
}

function row(cells: readonly string[]): string {
  return `| ${cells.join(' | ')} |`;
}

/** Text without meaning to Markdown, except between backticks. */
export function prose(text: string): string {
  return text.replaceAll('|', '\\|').replaceAll('<', '&lt;').replaceAll('*', '\\*');
}

export const code = (text: string) => `\`${text.replaceAll('|', '\\|')}\``;
