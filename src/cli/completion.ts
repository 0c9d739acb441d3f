/** Shell completion scripts, made from the commands and their options. */
import type { Command, Option } from 'commander';
import type { CliContext, ExitCode } from './context.js';

export const SHELLS = ['bash', 'zsh', 'fish'] as const;
export type Shell = (typeof SHELLS)[number];

/** Prints the script for a shell. */
export async function completion(
  { stdout }: CliContext,
  program: Command,
  shell: Shell,
): Promise<ExitCode> {
  stdout.write(SCRIPTS[shell](nodesOf(program)));
  return 0;
}

/** A command with its place in the tree. */
interface Node {
  readonly command: Command;
  /** The names from the top; empty for the program itself. */
  readonly path: readonly string[];
}

function nodesOf(command: Command, path: readonly string[] = []): readonly Node[] {
  const below = command.commands.flatMap((inner) => nodesOf(inner, [...path, inner.name()]));
  return [{ command, path }, ...below];
}

/** The options of a command, with `--help`. */
function optionsOf(command: Command): readonly Option[] {
  return command.createHelp().visibleOptions(command);
}

function flagsOf({ short, long }: Option): readonly string[] {
  return [short, long].filter((flag) => flag !== undefined);
}

/** The words that the arguments of a command may be. */
function choicesOf(command: Command): readonly string[] {
  return command.registeredArguments.flatMap(({ argChoices }) => argChoices ?? []);
}

const placeOf = (path: readonly string[]) => path.map((name) => `/${name}`).join('');

function bashScript(nodes: readonly Node[]): string {
  const places = nodes.slice(1).map(({ path }) => placeOf(path));
  const names = nodes.map(({ command, path }) => {
    const commands = [...command.commands.map((inner) => inner.name()), ...choicesOf(command)];
    const flags = optionsOf(command).flatMap(flagsOf).join(' ');
    return `    '${placeOf(path)}') commands='${commands.join(' ')}' options='${flags}' ;;\n`;
  });
  const values = nodes.flatMap(({ command, path }) =>
    optionsOf(command)
      .filter(({ required }) => required)
      .map((option) => {
        const flags = flagsOf(option).map((flag) => `'${placeOf(path)} ${flag}'`);
        const words = option.argChoices ?? [];
        return `    ${flags.join('|')}) commands='${words.join(' ')}' options='' ;;\n`;
      }),
  );
  return `_expiry_relay() {
  local current="\${COMP_WORDS[COMP_CWORD]}" previous="\${COMP_WORDS[$((COMP_CWORD-1))]}"
  local place='' word commands='' options=''
  for word in "\${COMP_WORDS[@]:1:$((COMP_CWORD-1))}"; do
    case "$place/$word" in
      ${places.join('|')}) place="$place/$word" ;;
    esac
  done
  case "$place" in
${names.join('')}  esac
  case "$place $previous" in
${values.join('')}  esac
  case "$current" in
    -*) commands="$options" ;;
  esac
  COMPREPLY=($(compgen -W "$commands" -- "$current"))
}
complete -o default -F _expiry_relay expiry-relay
`;
}

function zshScript(nodes: readonly Node[]): string {
  return `autoload -U +X compinit && compinit\nautoload -U +X bashcompinit && bashcompinit\n${bashScript(nodes)}`;
}

const quoted = (text: string) => `'${text.replaceAll("'", "\\'")}'`;

function fishScript(nodes: readonly Node[]): string {
  const lines = nodes.flatMap(({ command, path }) => {
    const names = command.commands.map((inner) => inner.name());
    const within = path.map((name) => `__fish_seen_subcommand_from ${name}`);
    const before = names.length === 0 ? [] : [`not __fish_seen_subcommand_from ${names.join(' ')}`];
    const condition = quoted([...within, ...before].join('; and '));
    const start = `complete -c expiry-relay -n ${condition}`;
    return [
      ...command.commands.map(
        (inner) => `${start} -f -a ${inner.name()} -d ${quoted(inner.description())}\n`,
      ),
      ...choicesOf(command).map((word) => `${start} -f -a ${word}\n`),
      ...optionsOf(command).map((option) => {
        const { short, long, required, argChoices, description } = option;
        const flags = [
          ...(short === undefined ? [] : [`-s ${short.slice(1)}`]),
          ...(long === undefined ? [] : [`-l ${long.slice(2)}`]),
          ...(required ? ['-r'] : []),
          ...(argChoices === undefined ? [] : [`-f -a ${quoted(argChoices.join(' '))}`]),
        ];
        return `${start} ${flags.join(' ')} -d ${quoted(description)}\n`;
      }),
    ];
  });
  return lines.join('');
}

const SCRIPTS: Readonly<Record<Shell, (nodes: readonly Node[]) => string>> = {
  bash: bashScript,
  zsh: zshScript,
  fish: fishScript,
};
