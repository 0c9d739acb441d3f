/** The command line: its commands, their options, and the handling of errors. */
import { Command, CommanderError, InvalidArgumentError } from 'commander';
import { unforeseenText } from '../lib/exhaustion.js';
import { defectNote } from '../lib/text-defect.js';
import { VERSION } from '../lib/version.js';
import { RelayError, SettingsError, UsageError } from '../model/errors.js';
import { reportText } from '../telemetry/process-reports.js';
import type { CliContext, ExitCode, FileOption } from './context.js';
import type { ActOnDeadOptions, ListDeadOptions, ShowDeadOptions } from './dead.js';
import { loadLean } from './lean-load.js';
import type { ListenOptions } from './listen.js';
import type { MatchOptions } from './match.js';
import type {
  DropQuarantineOptions,
  ListQuarantineOptions,
  ShowQuarantineOptions,
} from './quarantine.js';
import type { SecretOptions } from './secret.js';
import type { SendOptions } from './send.js';

const HELP_AFTER = `
Without -c FILE: $EXPIRY_RELAY_CONFIG, then ./relay.yaml, then /etc/expiry-relay/relay.yaml.
Exit codes: 0 fine, 1 the operator must act (standard error or the log of run says what), 2 wrong usage.`;

const PORT_MAX = 65_535;

/** Default number of listed entries: a few screens, the newest last. */
const LISTED_MAX = 100;

/**
 * Never rejects: every error becomes a message on standard error and an exit code. Each command's module is loaded
 * on use: loading all of them takes a second on a small machine and doubles the memory.
 */
export async function runCli(context: CliContext): Promise<ExitCode> {
  let code: ExitCode = 0;
  const program = createProgram(context, (result) => {
    code = result;
  });
  try {
    await program.parseAsync([...context.argv], { from: 'user' });
    return code;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
    context.stderr.write(`${textOf(error)}\n`);
    return error instanceof UsageError ? 2 : 1;
  }
}

function createProgram(context: CliContext, done: (code: ExitCode) => void): Command {
  const program = new Command('expiry-relay')
    .description('A signed webhook for every Redis key that expires.')
    .version(VERSION, '--version', 'print the version')
    .helpOption('-h, --help', 'print this help')
    .showHelpAfterError('(see expiry-relay --help; a file is named with -c FILE)')
    .showSuggestionAfterError()
    .addHelpText('after', HELP_AFTER)
    .exitOverride()
    .configureOutput({
      writeOut: (text) => context.stdout.write(text),
      writeErr: (text) => context.stderr.write(text),
    })
    .hook('preAction', (_, command) => {
      // `run` has logged its errors.
      if (command.name() === 'run') return;
      context.reports.listen((report) => {
        context.stderr.write(`expiry-relay: ${reportText(report)}\n`);
      });
    });

  const withFile = (name: string, description: string) => addCommand(program, name, description);
  withFile('run', 'run the relay').action(async (options: FileOption) =>
    done(await (await import('./run.js')).run(context, options)),
  );
  withFile('check', 'check the file alone: every mistake at once').action(
    async (options: FileOption) => done(await (await import('./check.js')).check(context, options)),
  );
  withFile('doctor', 'look at the file, Redis and the endpoints: what to do about each').action(
    async (options: FileOption) =>
      done(await (await import('./doctor.js')).doctor(context, options)),
  );
  withFile('match', 'show which routes a key takes and what would be sent')
    .argument('<key>', 'the key, as the application names it')
    .option('--database <n>', 'the database that the key is in', wholeNumber, 0)
    .action(async (key: string, options: Omit<MatchOptions, 'key'>) =>
      done(await (await import('./match.js')).match(context, { ...options, key })),
    );
  withFile('send', 'send what match shows, now and marked as a test, and show the answers')
    .argument('<key>', 'the key, as the application names it; it need not exist')
    .option('--database <n>', 'the database that the key would be in', wholeNumber, 0)
    .option('--route <name>', 'by this route alone')
    .option('--endpoint <name>', 'to this endpoint alone')
    .addHelpText(
      'after',
      '\nAn endpoint that does not look for the mark (an id that begins with msg_test_) does the\n' +
        'real work: take a key that names nothing.',
    )
    .action(async (key: string, options: Omit<SendOptions, 'key'>) =>
      done(await (await import('./send.js')).send(context, { ...options, key })),
    );
  withFile('listen', 'receive webhooks here, verify and print them')
    .option('--port <n>', 'the port to listen on', portNumber, 8080)
    .option('--host <address>', 'the address to listen on', '127.0.0.1')
    .option('--secret <secret>', 'verify with this whsec_… or whpk_… (repeatable)', list)
    .option('--fail <answers>', 'answer the first attempts of each webhook so: 500,429,hang,reset')
    .action(async (options: FileOption & ListenOptions) =>
      done(await (await import('./listen.js')).listen(context, options)),
    );
  program
    .command('secret')
    .description('print a new secret')
    .option('--asymmetric', 'a private key (whsk_…); its public key goes to standard error')
    .action(async (options: SecretOptions) =>
      done(await (await import('./secret.js')).secret(context, options)),
    );
  program
    .command('schema')
    .description("print the file's JSON Schema")
    .action(async () => done(await (await import('./schema.js')).schema(context)));
  withFile('healthcheck', 'ask the running relay whether it lives (for HEALTHCHECK)')
    .option('--ready', 'ask whether it is ready instead')
    .action(async (options: FileOption & { ready?: boolean }) =>
      done(await (await import('./healthcheck.js')).healthcheck(context, options)),
    );
  addDead(program, context, done);
  addQuarantine(program, context, done);
  return program;
}

function addCommand(parent: Command, name: string, description: string): Command {
  return parent
    .command(name)
    .description(description)
    .option('-c, --config <file>', 'the relay.yaml to use');
}

/** Operators run these commands in the relay's container, whose memory may be limited. */
const loadDead = () => loadLean(() => import('./dead.js'));
const loadQuarantine = () => loadLean(() => import('./quarantine.js'));

function addDead(program: Command, context: CliContext, done: (code: ExitCode) => void): void {
  const dead = program.command('dead').description('show, replay or drop dead letters');
  const withFilters = (name: string, description: string) =>
    addCommand(dead, name, description)
      .option('--endpoint <name>', 'those of this endpoint')
      .option('--route <name>', 'those of this route')
      .option('--id <id>', 'the one with this id (repeatable)', list)
      .option('--reason <reason>', 'those given up for it: exhausted, gone or unknown_endpoint')
      .option('--older-than <duration>', 'those that died longer ago, such as 2h')
      .option('--newer-than <duration>', 'those that died since, such as 15m');

  withFilters('list', 'list dead letters, the newest last')
    .option('--limit <n>', 'how many at most, the newest; 0 for all', wholeNumber, LISTED_MAX)
    .option('--json', 'one JSON object per line')
    .action(async (options: ListDeadOptions) =>
      done(await (await loadDead()).listDead(context, options)),
    );
  addCommand(dead, 'show', 'show everything about one dead letter')
    .argument('<id>', 'its id')
    .option('--json', 'as one JSON object')
    .option('--body', 'its body alone, the exact bytes')
    .action(async (id: string, options: Omit<ShowDeadOptions, 'id'>) =>
      done(await (await loadDead()).showDead(context, { ...options, id })),
    );
  withFilters('replay', 'send dead letters again, with the same id and body')
    .argument('[ids...]', 'these ones')
    .option('--all', 'all of them')
    .action(async (ids: string[], options: Omit<ActOnDeadOptions, 'ids'>) =>
      done(await (await loadDead()).replayDead(context, { ...options, ids })),
    );
  withFilters('drop', 'forget dead letters for ever')
    .argument('[ids...]', 'these ones')
    .option('--all', 'all of them')
    .action(async (ids: string[], options: Omit<ActOnDeadOptions, 'ids'>) =>
      done(await (await loadDead()).dropDead(context, { ...options, ids })),
    );
}

function addQuarantine(
  program: Command,
  context: CliContext,
  done: (code: ExitCode) => void,
): void {
  const quarantine = program
    .command('quarantine')
    .description('show or drop entries of the state that no relay has written');
  addCommand(quarantine, 'list', 'list the records, the newest last')
    .option('--limit <n>', 'how many at most, the newest; 0 for all', wholeNumber, LISTED_MAX)
    .option('--json', 'one JSON object per line')
    .action(async (options: ListQuarantineOptions) =>
      done(await (await loadQuarantine()).listQuarantine(context, options)),
    );
  addCommand(quarantine, 'show', 'show everything about one record')
    .argument('<id>', 'its id')
    .option('--json', 'as one JSON object')
    .option('--value', 'the bytes of the value alone, as far as they are kept')
    .action(async (id: string, options: Omit<ShowQuarantineOptions, 'id'>) =>
      done(await (await loadQuarantine()).showQuarantine(context, { ...options, id })),
    );
  addCommand(quarantine, 'drop', 'delete records for ever, and the keys that were renamed for them')
    .argument('[ids...]', 'these ones')
    .option('--all', 'all of them')
    .action(async (ids: string[], options: Omit<DropQuarantineOptions, 'ids'>) =>
      done(await (await loadQuarantine()).dropQuarantine(context, { ...options, ids })),
    );
}

/** Omits the program's name for configuration errors: editors expect lines that begin with `file:line:column`. */
function textOf(error: unknown): string {
  if (error instanceof SettingsError) return error.message;
  return `expiry-relay: ${error instanceof RelayError ? error.message : unforeseenText(error)}`;
}

function wholeNumber(text: string): number {
  if (!/^\d{1,9}$/.test(text)) {
    throw new InvalidArgumentError(`Expected a whole number${defectNote(text)}.`);
  }
  return Number(text);
}

function portNumber(text: string): number {
  const port = wholeNumber(text);
  if (port > PORT_MAX) throw new InvalidArgumentError(`Expected a port from 0 to ${PORT_MAX}.`);
  return port;
}

function list(text: string, before: readonly string[] = []): string[] {
  return [...before, text];
}
