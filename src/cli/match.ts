import { loadSettings } from '../config/load.js';
import { headersByName } from '../delivery/request.js';
import { systemClock } from '../lib/clock.js';
import { decodeUtf8, printableJson } from '../lib/printable.js';
import type { CommandAction, FileOption } from './context.js';
import {
  headline,
  type KeyOptions,
  type Planned,
  plan,
  requestText,
  warnTooLarge,
} from './planned.js';
import { type Screen, screenOf } from './screen.js';

export type MatchOptions = FileOption & KeyOptions & { readonly json?: boolean };

/** Prints the routes that match a key, and the requests they would send; exit code 1 without a match. */
export const match: CommandAction<MatchOptions> = async (context, options) => {
  const { env, cwd, stdout } = context;
  const { settings } = await loadSettings({ file: options.config, env, cwd });
  const { planned, tooLarge } = plan(settings, options, false);
  const nowMs = systemClock.nowMs();
  const screen = screenOf(context);
  const shown = options.json
    ? planned.map((each) => jsonLine(each, nowMs)).join('')
    : planned.map((each) => describe(each, nowMs, screen)).join('\n');
  stdout.write(shown);
  warnTooLarge(context, tooLarge);
  return tooLarge.length === 0 ? 0 : 1;
};

/** Programs depend on these names. */
function jsonLine(planned: Planned, nowMs: number): string {
  const { delivery, params } = planned;
  const { url, request } = requestText(planned, nowMs);
  const text = decodeUtf8(request.body);
  const body = text === null ? { body_base64: request.body.toString('base64') } : { body: text };
  return `${printableJson({
    route: delivery.route,
    endpoint: delivery.endpoint,
    params: Object.fromEntries(
      Object.entries(params).map(([name, bytes]) => [name, bytes.toString()]),
    ),
    method: request.method,
    url,
    headers: headersByName(request),
    ...(delivery.contentType === null ? { body: null } : body),
  })}\n`;
}

/** The exact body; JSON is indented for a reader at a terminal. */
function bodyText(body: Buffer, { isTerminal }: Screen): string {
  const text = body.toString();
  if (!isTerminal) return text;
  try {
    return JSON.stringify(JSON.parse(text), null, 2).replaceAll('\n', '\n  ');
  } catch {
    return text;
  }
}

function describe(planned: Planned, nowMs: number, screen: Screen): string {
  const { paint } = screen;
  const { url, request } = requestText(planned, nowMs);
  const headers = Object.entries(headersByName(request)).map(
    ([name, value]) => `  ${paint('dim', `${name}:`)} ${value}\n`,
  );
  const body = planned.delivery.contentType === null ? '(no body)' : bodyText(request.body, screen);
  const line = `${request.method} ${url}`;
  const head = `${paint('bold', headline(planned))}\n  ${paint('cyan', line)}\n`;
  return `${head}${headers.join('')}\n  ${body}\n`;
}
