/** The schema of an endpoint in the configuration: every key, its type, its default. */
import { z } from 'zod';
import { PRIVATE_KEY_PREFIX } from '../signing/key-pair.js';
import { SECRET_PREFIX } from '../signing/sign.js';
import { readEndpointUrl, readProxyUrl } from './addresses.js';
import {
  duration,
  filePath,
  flag,
  fraction,
  list,
  mapping,
  rate,
  recordOf,
  text,
  whole,
} from './scalars.js';
import {
  readBasicPassword,
  readBasicUser,
  readHeaderName,
  readHeaderValue,
  readListedSecret,
} from './strings.js';
import { mismatch, toIssueText } from './wording.js';

/** Each secret signs every attempt; rotation needs two. */
const SECRETS_PER_ENDPOINT_MAX = 10;

const MINUTE_MS = 60_000;
const DAY_MS = 24 * 60 * MINUTE_MS;

/** Beyond ten minutes, an unresponsive endpoint wastes its slots. */
const TIMEOUT_RANGE = { min: 1, max: 10 * MINUTE_MS };
/** A receiver that is down for a month will not return. */
const RETRY_WAIT_RANGE = { min: 0, max: 30 * DAY_MS };
const RETRIES_RANGE = { min: 0, max: 50 };
/** Each attempt uses a connection: by default, file descriptors run out near a thousand. */
const CONCURRENCY_RANGE = { min: 1, max: 1024 };
/** 2xx is always a success, and a 5xx says that the receiver has failed. */
const STATUS_RANGE = { min: 300, max: 499 };
const STATUSES_MAX = 50;
/** Faster than one process can send. */
const RATE_RANGE = { min: 1, max: 1_000_000 };

const SECRETS_TEXT = `${SECRET_PREFIX}… or ${PRIVATE_KEY_PREFIX}…`;

const fileOf = (content: string) =>
  mapping({
    file: filePath.describe(
      `A file with ${content}, relative to the configuration file; reloaded when it changes`,
    ),
  });

const secrets = z
  .union(
    [
      z.literal('none'),
      list(
        z.union([text(`a secret: ${SECRET_PREFIX}…`, readListedSecret), fileOf('one secret')], {
          error: toIssueText(mismatch(`a secret (${SECRET_PREFIX}…) or {file: …}`)),
        }),
        { min: 1, max: SECRETS_PER_ENDPOINT_MAX },
      ),
    ],
    { error: toIssueText(mismatch(`a list of secrets (${SECRET_PREFIX}…), or the word none`)) },
  )
  .describe(
    `Each secret signs every webhook (rotation): ${SECRETS_TEXT} (asymmetric) or {file: …}; the word none sends unsigned webhooks`,
  );

const headers = recordOf(
  'a mapping from header names to strings',
  text('the name of an HTTP header', readHeaderName),
  z.union([text('a header value', readHeaderValue), fileOf('one value')], {
    error: toIssueText(mismatch('a header value or {file: …}')),
  }),
);

const basic = mapping({
  username: text('a user name', readBasicUser).describe('The user name, without a colon'),
  password: text('a password', readBasicPassword).optional().describe('The password'),
  password_file: filePath
    .optional()
    .describe('A file with the password, instead of password; reloaded when it changes'),
});

const tls = mapping({
  ca_file: filePath
    .optional()
    .describe("PEM certificates of the authorities to trust, instead of Node's own"),
  cert_file: filePath
    .optional()
    .describe('The client certificate in PEM, with its intermediate certificates'),
  key_file: filePath.optional().describe('The private key of cert_file, in PEM'),
});

const retry = mapping({
  schedule: list(duration(RETRY_WAIT_RANGE), RETRIES_RANGE)
    .prefault(['1s', '5s', '30s', '2m', '10m', '30m', '2h', '5h', '10h', '24h'])
    .describe('The delay before each retry; after the last retry, the webhook is dead-lettered'),
  jitter: fraction({ min: 0, max: 1 })
    .prefault(0.2)
    .describe('The random reduction of each delay, as a fraction of the delay'),
});

export const endpoint = mapping({
  url: text('a URL such as http://shop:8080/hooks', readEndpointUrl).describe(
    'http:// or https://, without credentials and without a fragment',
  ),
  secrets,
  headers: headers.prefault({}).describe("Headers of each request, in addition to the relay's own"),
  basic: basic.optional().describe('Credentials for HTTP basic authentication'),
  timeout: duration(TIMEOUT_RANGE).prefault('15s').describe('The timeout of one attempt'),
  accept: list(whole(STATUS_RANGE), { min: 1, max: STATUSES_MAX })
    .optional()
    .describe('Statuses that are successes in addition to 2xx, such as [409]'),
  concurrency: whole(CONCURRENCY_RANGE)
    .prefault(32)
    .describe('The maximum number of concurrent attempts of each replica'),
  rate_limit: rate(RATE_RANGE)
    .optional()
    .describe('The maximum rate of attempts of each replica, such as 100/s, 600/m or 1000/h'),
  retry: retry.prefault({}).describe('When failed webhooks are retried'),
  tls: tls.optional().describe('Certificates for an https:// endpoint; reloaded when they change'),
  proxy: text('a URL such as http://user:password@proxy:3128', readProxyUrl)
    .optional()
    .describe('The HTTP proxy to connect through, by CONNECT'),
  allow_link_local: flag()
    .prefault(false)
    .describe('Whether link-local and cloud metadata addresses are allowed'),
});

/** An endpoint with defaults filled in and every string parsed. */
export type EndpointInFile = z.output<typeof endpoint>;

export const endpointFields = endpoint.shape;
