import { loadSettings } from '../config/load.js';
import { readVerifyingSecret } from '../config/strings.js';
import { systemClock, untilAborted } from '../lib/clock.js';
import { printable } from '../lib/printable.js';
import type { Paint } from '../lib/terminal.js';
import { defectNote } from '../lib/text-defect.js';
import { messageOf, NoSettingsFileError, UsageError } from '../model/errors.js';
import type { Secret } from '../model/secret.js';
import { type PlannedAnswer, type ReceivedWebhook, startReceiver } from '../receiver/receiver.js';
import { lengthText } from '../server/wording.js';
import type { Verdict } from '../signing/sign.js';
import type { CliContext, CommandAction, FileOption } from './context.js';
import { type Screen, screenOf } from './screen.js';

export interface ListenOptions {
  readonly port: number;
  readonly host: string;
  readonly secret?: readonly string[];
  readonly fail?: string;
  readonly json?: boolean;
}

/** Keys and their strings are truncated here, so that a webhook takes a few lines on a screen. */
const SHOWN_CHARS_MAX = 120;

/** A receiver that prints webhooks: readable text on a terminal, otherwise one JSON line each. */
export const listen: CommandAction<FileOption & ListenOptions> = async (context, options) => {
  const failures = parseFailures(options.fail);
  const secrets = await secretsFor(context, options);
  const { stdout, stderr, stop } = context;
  const screen = screenOf(context);
  const show = (webhook: ReceivedWebhook) =>
    screen.isTerminal && !options.json ? formatWebhook(webhook, screen) : jsonLine(webhook);
  const receiver = await startReceiver({
    listen: { host: options.host, port: options.port },
    secrets,
    failures,
    clock: systemClock,
    onWebhook: (webhook) => stdout.write(`${show(webhook)}\n`),
    onError: (error) => stderr.write(`cannot accept a connection: ${messageOf(error)}\n`),
  });
  const { host, port } = receiver.address;
  stderr.write(`listening on http://${host}:${port}\n`);
  if (secrets.length === 0) {
    stderr.write(
      'signatures are not verified: specify --secret, or a configuration file with -c\n',
    );
  }
  await untilAborted(stop);
  await receiver.close();
  return 0;
};

/** Secrets from `--secret`, else from all configured endpoints; none without a configuration file. */
async function secretsFor(context: CliContext, options: FileOption & ListenOptions) {
  if (options.secret !== undefined) return parseSecrets(options.secret);
  try {
    const { env, cwd } = context;
    const { settings } = await loadSettings({ file: options.config, env, cwd });
    return [...settings.endpoints.values()].flatMap(({ secrets }) => secrets);
  } catch (error) {
    if (error instanceof NoSettingsFileError) return [];
    throw error;
  }
}

/** An empty secret is ignored when there are others, as in the configuration. */
function parseSecrets(texts: readonly string[]): Secret[] {
  const given = texts.filter((text) => text !== '');
  return (given.length === 0 ? texts : given).map(parseSecret);
}

function parseSecret(text: string): Secret {
  const reading = readVerifyingSecret(text);
  if (reading.ok) return reading.value;
  const expected = 'whsec_ and then 24–64 bytes in base64, or a whpk_…';
  throw new UsageError(`--secret: expected ${expected}${defectNote(text)}`);
}

function parseFailures(text: string | undefined): PlannedAnswer[] {
  if (text === undefined) return [];
  return text.split(',').map((word) => {
    if (word === 'hang' || word === 'reset') return word;
    if (/^[2-5]\d\d$/.test(word)) return Number(word);
    throw new UsageError(
      `--fail: expected statuses (200 to 599), hang or reset, such as 500,429,hang; found ` +
        `"${printable(word)}"${defectNote(word)}`,
    );
  });
}

/** The fields of a body in one of the relay's own formats, where they can be read. */
interface ReadBody {
  readonly type?: unknown;
  readonly data?: {
    readonly key?: unknown;
    readonly route?: unknown;
    readonly params?: unknown;
    readonly expired_at?: unknown;
  };
}

/** Parses JSON; other bodies, such as forms, stay strings; null without a body. */
function read(body: Buffer): unknown {
  if (body.length === 0) return null;
  const text = body.toString();
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

function asReadBody(body: unknown): ReadBody {
  return typeof body === 'object' && body !== null ? body : {};
}

/** Time from the key's deadline to now; null when the deadline is unknown. */
function latenessMs(body: unknown, receivedAtMs: number): number | null {
  const { data } = asReadBody(body);
  return typeof data?.expired_at === 'string' ? receivedAtMs - Date.parse(data.expired_at) : null;
}

/** Null for values nested so deeply that serializing them overflows the stack. */
function json(value: unknown): string | null {
  try {
    return JSON.stringify(value);
  } catch {
    return null;
  }
}

function jsonLine(webhook: ReceivedWebhook): string {
  const body = read(webhook.body);
  const line = {
    received_at: new Date(webhook.receivedAtMs).toISOString(),
    verified: webhook.verdict === 'verified',
    verdict: webhook.verdict,
    id: webhook.id,
    attempt: webhook.attempt,
    ...(webhook.isTest ? { test: true } : {}),
    answered: webhook.answered,
    method: webhook.method,
    path: webhook.path,
    content_type: webhook.contentType,
    lateness_ms: latenessMs(body, webhook.receivedAtMs),
    body,
  };
  return json(line) ?? JSON.stringify({ ...line, body: null });
}

/** A text and its color. */
type Part = readonly [text: string, format: Parameters<Paint>[0] | null];

const VERDICTS: Readonly<Record<Verdict, Part>> = {
  verified: ['✓ verified', 'green'],
  no_secret: ['? not checked', 'yellow'],
  missing_headers: ['✗ headers missing', 'red'],
  timestamp_out_of_tolerance: ['✗ timestamp too far off', 'red'],
  wrong_signature: ['✗ wrong signature', 'red'],
};

const GAP = '  ';
const INDENT = '  ';

function formatWebhook(webhook: ReceivedWebhook, screen: Screen): string {
  const width = Math.min(screen.width - INDENT.length, SHOWN_CHARS_MAX);
  const body = read(webhook.body);
  const { type, data } = asReadBody(body);
  const late = latenessMs(body, webhook.receivedAtMs);
  const accepted = typeof webhook.answered === 'number' && webhook.answered < 300;
  const headline: readonly Part[] = [
    [new Date(webhook.receivedAtMs).toISOString().slice(11, 23), 'dim'],
    VERDICTS[webhook.verdict],
    [webhook.isTest ? 'test' : '', 'magenta'],
    [shown(data?.key, width), 'bold'],
    [late === null ? '' : `${lengthText(late)} late`, null],
    [webhook.attempt > 1 ? `attempt ${webhook.attempt}` : '', null],
    [`→ ${webhook.answered}`, accepted ? 'green' : 'red'],
  ];
  const content = data === undefined ? body : data.params;
  const request = `${webhook.method} ${webhook.path}`;
  const details = [request, type ?? '', webhook.id, content].map(
    (value): Part => [shown(value, width), 'dim'],
  );
  return [...linesOf(headline, screen), ...linesOf(details, screen)].join(`\n${INDENT}`);
}

/** Breaks between parts, never within them. */
function linesOf(parts: readonly Part[], { width, paint }: Screen): readonly string[] {
  const lines: { text: string; chars: number }[] = [];
  for (const [text, format] of parts) {
    if (text === '') continue;
    const painted = format === null ? text : paint(format, text);
    const last = lines.at(-1);
    const chars = (last?.chars ?? 0) + GAP.length + text.length;
    if (last === undefined || chars + INDENT.length > width) {
      lines.push({ text: painted, chars: text.length });
    } else Object.assign(last, { text: last.text + GAP + painted, chars });
  }
  return lines.map(({ text }) => text);
}

/** At most `charsMax` characters, unless some of them must be escaped. */
function shown(value: unknown, charsMax: number): string {
  if (value === undefined || value === null) return '-';
  return printable(typeof value === 'string' ? value : (json(value) ?? '…'), charsMax - 1);
}
