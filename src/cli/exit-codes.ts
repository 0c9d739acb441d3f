/** The exit codes of the commands, for their help. */

/** Exit codes of every command. */
export const EXIT_CODES = {
  0: 'success',
  1: 'failure; the reason is on standard error, or in the log of run',
  2: 'usage error',
} as const;

/** When a command returns 1 although it did its work, by the words of the command. */
export const NEGATIVE_RESULTS: Readonly<Record<string, string>> = {
  check: 'a file has an error, or with --strict a warning',
  doctor: 'there is a problem, marked [-]',
  healthcheck: 'the relay is not alive, or with --ready not ready',
  match: 'no route matches the key, or a webhook is too large',
  send: 'a webhook is not accepted',
  'dead show': 'there is no such dead letter',
  'dead replay': 'a dead letter is missing, or cannot be replayed yet',
  'dead drop': 'a dead letter is missing',
  'quarantine show': 'there is no such entry',
  'quarantine drop': 'an entry is missing',
};
