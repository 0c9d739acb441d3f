/** The grammar of Markdown pages, as Harper judges it; code is left out. */
import { Dialect, LocalLinter } from 'harper.js';
import { slimBinary } from 'harper.js/slimBinary';
import { lineAt } from './phrases.mjs';

/** Rules of Harper's that this project does not follow. */
const OTHER_STYLE = [
  // cspell checks the spelling.
  'SpellCheck',
  'OrthographicConsistency',
  // Headings are in sentence case; cells of tables and items of lists need no capital.
  'UseTitleCase',
  'SentenceCapitalization',
  // Units and names of files stay as they are.
  'ExpandConfiguration',
  'ExpandMemoryShorthands',
  'ExpandParameter',
  'ExpandTimeShorthands',
  'OkToOkay',
  'OxfordComma',
  'QuantifierNumeralConflict',
];

/** Rules that were wrong more often than right on these pages. */
const UNRELIABLE = [
  'CompoundNouns',
  'DisjointPrefixes',
  'ItsContraction',
  'MergeWords',
  'MissingPreposition',
  'MissingTo',
  'Nobody',
  'OneOfTheSingular',
  'Oxymorons',
  'PronounInflectionBe',
  'Spaces',
  'TheLastDays',
  'ThenThan',
];

/** A long sentence is named by its beginning. */
const QUOTE_CHARACTERS_MAX = 60;

/** @returns {Promise<(markdown: string) => Promise<import('./phrases.mjs').Finding[]>>} */
export async function loadGrammar() {
  const linter = new LocalLinter({ binary: slimBinary, dialect: Dialect.American });
  const rules = await linter.getDefaultLintConfig();
  for (const rule of [...OTHER_STYLE, ...UNRELIABLE]) {
    if (!(rule in rules)) throw new Error(`Harper has no rule ${rule}: remove it from grammar.mjs`);
    rules[rule] = false;
  }
  await linter.setLintConfig(rules);
  return async (markdown) => {
    const findings = await linter.organizedLints(markdown, { language: 'markdown' });
    return Object.entries(findings).flatMap(([rule, lints]) =>
      lints.map((lint) => {
        const quote = lint.get_problem_text().replaceAll(/\s+/g, ' ');
        const short = `${quote.slice(0, QUOTE_CHARACTERS_MAX)}…`;
        return {
          line: lineAt(markdown, lint.span().start),
          text: `"${quote.length > QUOTE_CHARACTERS_MAX ? short : quote}": ${lint.message()} (${rule})`,
        };
      }),
    );
  };
}
