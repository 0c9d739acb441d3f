/** The commands, their options and their help. */
import { Argument, Command, InvalidArgumentError, Option } from 'commander';
import { didYouMean } from '../config/suggest.js';
import { escapeUnprintable } from '../lib/printable.js';
import { defectNote } from '../lib/text-defect.js';
import { VERSION } from '../lib/version.js';
import { LOG_FORMATS, LOG_LEVELS } from '../model/log-settings.js';
import { reportText } from '../telemetry/process-reports.js';
import type { CheckOptions } from './check.js';
import { SHELLS, type Shell } from './completion.js';
import type { CliContext, ExitCode, FileOption } from './context.js';
import type { ListDeadOptions, ShowDeadOptions } from './dead.js';
import type { ActOnDeadOptions } from './dead-actions.js';
import type { DoctorOptions } from './doctor.js';
import { EXIT_CODES, NEGATIVE_RESULTS } from './exit-codes.js';
import type { HealthcheckOptions } from './healthcheck.js';
import type { InitOptions } from './init.js';
import { loadLean } from './lean-load.js';
import type { ListenOptions } from './listen.js';
import type { MatchOptions } from './match.js';
import type { PauseOptions, ResumeOptions } from './pauses.js';
import type {
  DropQuarantineOptions,
  ListQuarantineOptions,
  ShowQuarantineOptions,
} from './quarantine.js';
import type { RunOptions } from './run.js';
import { fitted } from './screen.js';
import type { SecretOptions } from './secret.js';
import type { SendOptions } from './send.js';
import type { StatusOptions } from './status.js';

const PROGRAM = 'expiry-relay';

const PROGRAM_NOTES = `
Configuration file, the first of:
  -c FILE
  $EXPIRY_RELAY_CONFIG
  ./relay.yaml or ./expiry-relay.yaml
  /etc/expiry-relay/relay.yaml or /etc/expiry-relay/expiry-relay.yaml

Exit codes:
${Object.entries(EXIT_CODES)
  .map(([code, text]) => `  ${code}  ${text}`)
  .join('\n')}`;

const SEND_NOTES = `
Test webhooks have an id that begins with msg_test_. An endpoint that does not
check for it processes them as real events: use a key that matches no record.`;

const SCHEMA_NOTES = `
Save the output as relay.schema.json beside the configuration file. Editors:
  VS Code    with the YAML extension, begin the file with this line:
             # yaml-language-server: $schema=relay.schema.json
  JetBrains  Settings > Languages & Frameworks > Schemas and DTDs >
             JSON Schema Mappings: add the schema, and map the file to it`;

const COMPLETION_NOTES = `
To load the completion:
  bash  save as ~/.local/share/bash-completion/completions/expiry-relay
  zsh   add to ~/.zshrc: source <(expiry-relay completion zsh)
  fish  save as ~/.config/fish/completions/expiry-relay.fish`;

const LOCAL_URL = 'http://127.0.0.1:3000/hooks';

const PORT_MAX = 65_535;

/** Enough for an option, its value and its choices. */
const ERROR_CHARS_MAX = 1_000;

/** Default number of listed entries: a few screens. */
const LISTED_MAX = 100;

type Done = (code: ExitCode) => void;

/**
 * `done` receives the exit code of the command. Each command's module is loaded on use: loading all of them takes
 * a second on a small machine and doubles the memory.
 */
export function createProgram(context: CliContext, done: Done): Command {
  const program = new Command(PROGRAM)
    .description('A signed webhook for every Redis key that expires.')
    .version(VERSION, '-V, --version', 'print the version')
    .helpOption('-h, --help', 'print help')
    .helpCommand('help [command]', 'print the help of a command')
    .showHelpAfterError(seeHelpOf(PROGRAM))
    .showSuggestionAfterError()
    .addHelpText('after', PROGRAM_NOTES)
    .exitOverride()
    .configureOutput({
      writeOut: (text) => context.stdout.write(text),
      writeErr: (text) => context.stderr.write(fitted(context.stderr, text)),
      outputError: (text, write) => write(`${errorText(text)}\n`),
    })
    .hook('preAction', (_, command) => {
      // `run` logs its errors, and reloads its configuration.
      if (command.name() === 'run') return;
      context.hangups.listenForStop();
      context.reports.listen((report) => {
        context.stderr.write(`${PROGRAM}: ${reportText(report)}\n`);
      });
    });
  addExamples(program, 'init', 'check', 'run -c relay.yaml', 'dead list --endpoint shop');
  addInit(program, context, done);
  addRun(program, context, done);
  addChecks(program, context, done);
  addTrials(program, context, done);
  addPrints(program, context, done);
  addControl(program, context, done);
  addDead(program, context, done);
  addQuarantine(program, context, done);
  return program;
}

function addInit(program: Command, context: CliContext, done: Done): void {
  const init = program
    .command('init')
    .description('create a minimal configuration file; never overwrites one')
    .argument('[file]', 'the file to create', 'relay.yaml')
    .option('--redis <url>', 'the Redis whose keys expire', 'redis://127.0.0.1:6379')
    .option('--url <url>', 'the URL that receives webhooks', 'http://127.0.0.1:8080/hooks')
    .option('--match <pattern>', 'the keys that send webhooks', 'order:{id}:unpaid')
    .action(async (file: string, options: Omit<InitOptions, 'file'>) =>
      done(await (await import('./init.js')).init(context, { ...options, file })),
    );
  addExamples(init, 'init', `init --url ${LOCAL_URL} --match 'session:*'`);
}

function addRun(program: Command, context: CliContext, done: Done): void {
  const run = addCommand(program, 'run', 'run the relay')
    .addOption(
      choice(new Option('--log-level <level>', 'override log.level of the file'), LOG_LEVELS),
    )
    .addOption(
      choice(new Option('--log-format <format>', 'override log.format of the file'), LOG_FORMATS),
    )
    .action(async (options: RunOptions) =>
      done(await (await import('./run.js')).run(context, options)),
    );
  addExamples(run, 'run', 'run -c relay.yaml --log-level debug --log-format json');
  const healthcheck = addCommand(
    program,
    'healthcheck',
    'query the liveness endpoint of a running relay',
  )
    .option('--ready', 'query the readiness endpoint instead')
    .option('--json', 'print a JSON object')
    .action(async (options: HealthcheckOptions) =>
      done(await (await import('./healthcheck.js')).healthcheck(context, options)),
    );
  addExamples(healthcheck, 'healthcheck', 'healthcheck --ready');
}

function addChecks(program: Command, context: CliContext, done: Done): void {
  const check = addCommand(program, 'check', 'validate configuration files')
    .argument('[files...]', 'the files to validate; by default the configuration file')
    .option('--no-env', 'do not read environment variables and secret files')
    .option('--strict', 'treat warnings as errors')
    .option('--json', 'print one JSON object per file')
    .action(async (files: string[], options: Omit<CheckOptions, 'files'>) =>
      done(await (await import('./check.js')).check(context, { ...options, files })),
    );
  addExamples(check, 'check', 'check --no-env --strict deploy/relay.yaml');
  const doctor = addCommand(
    program,
    'doctor',
    'diagnose the configuration, Redis and the endpoints; changes nothing',
  )
    .option('--json', 'print a JSON object')
    .action(async (options: DoctorOptions) =>
      done(await (await import('./doctor.js')).doctor(context, options)),
    );
  addExamples(doctor, 'doctor', 'doctor -c relay.yaml --json');
}

function addTrials(program: Command, context: CliContext, done: Done): void {
  const match = addCommand(program, 'match', 'show the routes that match a key, and their requests')
    .argument('<key>', 'the name of the key')
    .option('--database <n>', 'the database of the key', wholeNumber, 0)
    .option('--json', 'print one JSON object per webhook')
    .action(async (key: string, options: Omit<MatchOptions, 'key'>) =>
      done(await (await import('./match.js')).match(context, { ...options, key })),
    );
  addExamples(match, 'match order:42:unpaid', 'match order:42:unpaid --database 2 --json');
  const send = addCommand(program, 'send', 'send test webhooks for a key, and show the responses')
    .argument('<key>', 'the name of the key, which need not exist')
    .option('--database <n>', 'the database of the key', wholeNumber, 0)
    .option('--route <name>', 'send only for this route')
    .option('--endpoint <name>', 'send only to this endpoint')
    .option('--to <url>', 'send to this URL instead, without headers, TLS files and proxy')
    .option('--json', 'print one JSON object per webhook')
    .addHelpText('after', SEND_NOTES)
    .action(async (key: string, options: Omit<SendOptions, 'key'>) =>
      done(await (await import('./send.js')).send(context, { ...options, key })),
    );
  addExamples(
    send,
    'send order:test:unpaid --endpoint shop',
    `send order:test:unpaid --to ${LOCAL_URL}`,
  );
  const listen = addCommand(program, 'listen', 'receive, verify and print webhooks')
    .option('--port <n>', 'the port to listen on', portNumber, 8080)
    .option('--host <address>', 'the address to listen on', '127.0.0.1')
    .option(
      '--secret <secret>',
      'verify with this secret (whsec_…) or public key (whpk_…); repeatable',
      list,
    )
    .option(
      '--fail <responses>',
      'respond with these to the first attempts of each webhook, for example 500,429,hang,reset',
    )
    .option('--json', 'print one JSON object per webhook, also on a terminal')
    .action(async (options: FileOption & ListenOptions) =>
      done(await (await import('./listen.js')).listen(context, options)),
    );
  addExamples(listen, 'listen', 'listen --port 3000 --fail 500,hang');
}

function addPrints(program: Command, context: CliContext, done: Done): void {
  const secret = program
    .command('secret')
    .description('generate a signing secret')
    .option(
      '--asymmetric',
      'generate a private key (whsk_…); print its public key on standard error',
    )
    .option('--json', 'print a JSON object')
    .action(async (options: SecretOptions) =>
      done(await (await import('./secret.js')).secret(context, options)),
    );
  addExamples(secret, 'secret', 'secret --asymmetric > shop.key');
  const schema = program
    .command('schema')
    .description('print the JSON Schema of the configuration file')
    .addHelpText('after', SCHEMA_NOTES)
    .action(async () => done(await (await import('./schema.js')).schema(context)));
  addExamples(schema, 'schema > relay.schema.json');
  const completion = program
    .command('completion')
    .description('print a completion script for a shell')
    .addArgument(choice(new Argument('<shell>', 'the shell'), SHELLS))
    .addHelpText('after', COMPLETION_NOTES)
    .action(async (shell: Shell) =>
      done(await (await import('./completion.js')).completion(context, program, shell)),
    );
  addExamples(completion, 'completion bash > expiry-relay.bash');
}

/** Operators run these commands in the relay's container, whose memory may be limited. */
const loadDead = () => loadLean(() => import('./dead.js'));
const loadDeadActions = () => loadLean(() => import('./dead-actions.js'));
const loadPauses = () => loadLean(() => import('./pauses.js'));
const loadQuarantine = () => loadLean(() => import('./quarantine.js'));

function addControl(program: Command, context: CliContext, done: Done): void {
  const status = addCommand(
    program,
    'status',
    'show the running relays, and what waits for each endpoint',
  )
    .option('--watch', 'show it again every two seconds, until a signal')
    .option('--json', 'print a JSON object')
    .action(async (options: StatusOptions) =>
      done(await (await loadLean(() => import('./status.js'))).status(context, options)),
    );
  addExamples(status, 'status', 'status --watch', 'status --json');
  const pause = addCommand(program, 'pause', 'send an endpoint no webhooks until it is resumed')
    .argument('<endpoint>', 'the name of the endpoint')
    .option('--reason <text>', 'shown by status')
    .option('--json', 'print a JSON object')
    .action(async (endpoint: string, options: Omit<PauseOptions, 'endpoint'>) =>
      done(await (await loadPauses()).pause(context, { ...options, endpoint })),
    );
  addExamples(pause, "pause shop --reason 'database migration until 14:00'");
  const resume = addCommand(program, 'resume', 'end the pause of an endpoint')
    .argument('<endpoint>', 'the name of the endpoint')
    .option('--json', 'print a JSON object')
    .action(async (endpoint: string, options: Omit<ResumeOptions, 'endpoint'>) =>
      done(await (await loadPauses()).resume(context, { ...options, endpoint })),
    );
  addExamples(resume, 'resume shop');
}

function addDead(program: Command, context: CliContext, done: Done): void {
  const dead = program.command('dead').description('list, show, replay or drop dead letters');
  addExamples(dead, 'dead list', 'dead show ID', 'dead replay --endpoint shop');
  const withFilters = (name: string, description: string) =>
    addCommand(dead, name, description)
      .option('--endpoint <name>', 'filter by endpoint')
      .option('--route <name>', 'filter by route')
      .option('--id <id>', 'filter by id; repeatable', list)
      .option('--reason <reason>', 'filter by reason: exhausted, gone, too_old or unknown_endpoint')
      .option('--older-than <duration>', 'dead-lettered longer ago than this, for example 2h')
      .option('--newer-than <duration>', 'dead-lettered within this time, for example 15m');

  const listed = withFilters('list', 'list dead letters, newest last')
    .option('--limit <n>', 'list at most the newest n; 0 for all', wholeNumber, LISTED_MAX)
    .option('--json', 'print one JSON object per line')
    .action(async (options: ListDeadOptions) =>
      done(await (await loadDead()).listDead(context, options)),
    );
  addExamples(listed, 'dead list', 'dead list --endpoint shop --newer-than 1h', 'dead list --json');
  const show = addCommand(dead, 'show', 'show all fields of a dead letter')
    .argument('<id>', 'the id of the dead letter')
    .option('--json', 'print a JSON object')
    .option('--body', 'print only the bytes of the body')
    .action(async (id: string, options: Omit<ShowDeadOptions, 'id'>) =>
      done(await (await loadDead()).showDead(context, { ...options, id })),
    );
  addExamples(show, 'dead show ID', 'dead show ID --body');
  const withChoice = (name: string, description: string) =>
    withFilters(name, description)
      .argument('[ids...]', 'the ids of dead letters')
      .option('--all', 'select all dead letters')
      .option('--dry-run', 'change nothing; show how many dead letters match')
      .option('--rate <rate>', 'at most this many per second, minute or hour: 10/s, 600/m, 1000/h')
      .option('--json', 'print a JSON object');
  const replay = withChoice('replay', 'send dead letters again, with the same id and body').action(
    async (ids: string[], options: Omit<ActOnDeadOptions, 'ids'>) =>
      done(await (await loadDeadActions()).replayDead(context, { ...options, ids })),
  );
  addExamples(replay, 'dead replay ID', 'dead replay --endpoint shop --newer-than 1h --rate 10/s');
  const drop = withChoice('drop', 'permanently delete dead letters').action(
    async (ids: string[], options: Omit<ActOnDeadOptions, 'ids'>) =>
      done(await (await loadDeadActions()).dropDead(context, { ...options, ids })),
  );
  addExamples(drop, 'dead drop ID', 'dead drop --endpoint shop --older-than 1w --dry-run');
}

function addQuarantine(program: Command, context: CliContext, done: Done): void {
  const quarantine = program
    .command('quarantine')
    .description('list, show or drop state entries that no relay has written');
  addExamples(quarantine, 'quarantine list', 'quarantine show ID', 'quarantine drop --all');
  const listed = addCommand(quarantine, 'list', 'list quarantined entries, newest last')
    .option('--limit <n>', 'list at most the newest n; 0 for all', wholeNumber, LISTED_MAX)
    .option('--json', 'print one JSON object per line')
    .action(async (options: ListQuarantineOptions) =>
      done(await (await loadQuarantine()).listQuarantine(context, options)),
    );
  addExamples(listed, 'quarantine list', 'quarantine list --limit 0 --json');
  const show = addCommand(quarantine, 'show', 'show all fields of a quarantined entry')
    .argument('<id>', 'the id of the entry')
    .option('--json', 'print a JSON object')
    .option('--value', 'print only the stored bytes of the value')
    .action(async (id: string, options: Omit<ShowQuarantineOptions, 'id'>) =>
      done(await (await loadQuarantine()).showQuarantine(context, { ...options, id })),
    );
  addExamples(show, 'quarantine show ID', 'quarantine show ID --value');
  const drop = addCommand(
    quarantine,
    'drop',
    'permanently delete quarantined entries, with the keys that were renamed for them',
  )
    .argument('[ids...]', 'the ids of entries')
    .option('--all', 'select all entries')
    .option('--json', 'print a JSON object')
    .action(async (ids: string[], options: Omit<DropQuarantineOptions, 'ids'>) =>
      done(await (await loadQuarantine()).dropQuarantine(context, { ...options, ids })),
    );
  addExamples(drop, 'quarantine drop ID', 'quarantine drop --all');
}

/** A command that reads the configuration file. */
function addCommand(parent: Command, name: string, description: string): Command {
  return parent
    .command(name)
    .description(description)
    .option('-c, --config <file>', 'the configuration file');
}

/** Ends a command's help with examples and its exit code, and points its usage errors to that help. */
function addExamples(command: Command, ...examples: readonly string[]): void {
  const names: string[] = [];
  for (let at: Command | null = command; at !== null; at = at.parent) names.unshift(at.name());
  const lines = examples.map((example) => `  ${PROGRAM} ${example}\n`);
  const negative = NEGATIVE_RESULTS[names.slice(1).join(' ')];
  const code = negative === undefined ? '' : `\n\nExit code 1:\n  ${negative}`;
  command
    .showHelpAfterError(seeHelpOf(names.join(' ')))
    .addHelpText('after', `\nExamples:\n${lines.join('').trimEnd()}${code}`);
}

function seeHelpOf(names: string): string {
  return `See '${names} --help'.`;
}

/** The text of a usage error. Its second line, if any, is commander's suggestion. */
function errorText(text: string): string {
  const lines = text.trimEnd().split(/\n(?=\(Did you mean)/);
  return lines
    .map((line) => escapeUnprintable(line, ERROR_CHARS_MAX))
    .join('\n')
    .replace(/^error: /, `${PROGRAM}: `);
}

/** Accepts only these values. */
function choice<Its extends Option | Argument>(of: Its, values: readonly string[]): Its {
  of.choices(values);
  of.argParser((text: string) => {
    if (values.includes(text)) return text;
    const suggestion = didYouMean(text, values);
    const note = suggestion === null ? '' : ` (${suggestion})`;
    throw new InvalidArgumentError(
      `Expected one of ${values.join(', ')}${note}${defectNote(text)}.`,
    );
  });
  return of;
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
