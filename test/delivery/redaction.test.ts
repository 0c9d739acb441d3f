import { describe, expect, it } from 'vitest';
import { basicAuthorization } from '../../src/config/addresses.js';
import { redact, repeatedCredential } from '../../src/delivery/redaction.js';
import type { Endpoint } from '../../src/model/endpoint.js';
import { Secret } from '../../src/model/secret.js';
import { anEndpoint } from '../support/domain.js';

const base64 = (text: string | Buffer) => Buffer.from(text).toString('base64');
const reversed = (text: string) => Array.from(text).reverse().join('');
const hex = (text: string | Buffer) => Buffer.from(text).toString('hex');
/** Each UTF-16 code unit by itself. */
const each = (text: string, write: (code: string, char: string) => string) =>
  text
    .split('')
    .map((char) => write(char.charCodeAt(0).toString(16).padStart(4, '0'), char))
    .join('');

/** Encodings in which a receiver may repeat a string. */
const FORMS: readonly (readonly [name: string, make: (text: string) => string])[] = [
  ['as it is', (text) => text],
  ['in capitals', (text) => text.toUpperCase()],
  ['in small letters', (text) => text.toLowerCase()],
  ['reversed', reversed],
  ['reversed, in capitals', (text) => reversed(text).toUpperCase()],
  ['in base64', base64],
  ['in base64, without padding', (text) => base64(text).replace(/=+$/, '')],
  ['in base64 for URLs', (text) => Buffer.from(text).toString('base64url')],
  ['in base64, one byte in', (text) => base64(`x${text}yz`)],
  ['in base64, two bytes in', (text) => base64(`xy${text}z`)],
  ['in base64, three bytes in', (text) => base64(`xyz${text}`)],
  ['in base64 of a user and it', (text) => base64(`user:${text}`)],
  ['in base64 of JSON', (text) => base64(JSON.stringify({ token: text }))],
  ['in base64 behind letters', (text) => `got${base64(text)}`],
  ['in base64, in lines', (text) => base64(`token: ${text}`).replace(/.{12}/g, '$&\r\n')],
  ['in base64, in lines of JSON', (text) => base64(`id: ${text}`).replace(/.{12}/g, '$&\\n')],
  ['in base64, in capitals', (text) => base64(text).toUpperCase()],
  ['in base64, twice', (text) => base64(base64(text))],
  ['in base64, in hexadecimal', (text) => hex(base64(text))],
  ['in hexadecimal, in base64', (text) => base64(hex(text))],
  ['in base64, reversed', (text) => reversed(base64(text))],
  ['reversed, in base64', (text) => base64(reversed(text))],
  ['in base64, percent-encoded', (text) => encodeURIComponent(base64(`${text}?>`))],
  ['percent-encoded, in base64', (text) => base64(encodeURIComponent(text))],
  ['in hexadecimal', hex],
  ['in hexadecimal capitals', (text) => hex(text).toUpperCase()],
  ['in hexadecimal, reversed', (text) => reversed(hex(text))],
  ['in hexadecimal with colons', (text) => hex(text).replace(/..(?=.)/g, '$&:')],
  ['in hexadecimal with 0x', (text) => hex(text).replace(/../g, '0x$& ')],
  ['as a list of bytes', (text) => JSON.stringify(Buffer.from(text))],
  ['percent-encoded', encodeURIComponent],
  ['percent-encoded in each byte', (text) => hex(text).replace(/../g, '%$&')],
  ['percent-encoded twice', (text) => encodeURIComponent(hex(text).replace(/../g, '%$&'))],
  ['as a string of JSON', (text) => JSON.stringify(text).slice(1, -1)],
  ['in the escapes of JSON', (text) => each(text, (code) => `\\u${code}`)],
  ['in escapes with braces', (text) => each(text, (code) => `\\u{${code}}`)],
  ['in the escapes of bytes', (text) => hex(text).replace(/../g, '\\x$&')],
  ['in HTML, by number', (text) => each(text, (code) => `&#${Number.parseInt(code, 16)};`)],
  ['in HTML, in hexadecimal', (text) => each(text, (code) => `&#x${code};`)],
  ['in HTML, escaped twice', (text) => each(text, (code) => `&amp;#x${code};`)],
  ['cut', (text) => text.slice(0, Math.max(16, text.length - 5))],
  ['without its beginning', (text) => text.slice(-Math.max(16, text.length - 5))],
];

const SIGNING_BYTES = Buffer.from('0fb2c1d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60718', 'hex');
const SIGNING = base64(SIGNING_BYTES);

const withHeader = (name: string, value: string) =>
  anEndpoint({ headers: { [name]: new Secret(value) } });

/** A credential and its endpoint. */
const CREDENTIALS: readonly (readonly [what: string, credential: string, Endpoint])[] = [
  ['a header', 'sk_live_1', withHeader('x-api-key', 'sk_live_1')],
  [
    'a long header',
    'Zx81-qPl0-77Rt-mNbV-cXzQ',
    withHeader('x-api-key', 'Zx81-qPl0-77Rt-mNbV-cXzQ'),
  ],
  ['a word', 'sesame', withHeader('x-api-key', 'sesame')],
  ['a token behind its scheme', 'Rk92.aa-71', withHeader('authorization', 'Bearer Rk92.aa-71')],
  ['a cookie', 'f00dfeedb4', withHeader('cookie', 'theme=dark; session=f00dfeedb4')],
  [
    'the password of basic authentication',
    'hunter2',
    anEndpoint({ headers: { authorization: basicAuthorization('relay', new Secret('hunter2')) } }),
  ],
  [
    'a password with other letters',
    'p4ss+w\u00f6rd/1',
    anEndpoint({
      headers: { authorization: basicAuthorization('r', new Secret('p4ss+w\u00f6rd/1')) },
    }),
  ],
  [
    'the header of basic authentication',
    base64('relay:hunter2'),
    anEndpoint({ headers: { authorization: basicAuthorization('relay', new Secret('hunter2')) } }),
  ],
  ['a query', 'k7+/Wq9', anEndpoint({ url: new URL('http://shop/?key=k7%2B%2FWq9') })],
  [
    'a segment of the path',
    'T0a1B2c3D4e5F6g7H8i9',
    anEndpoint({ url: new URL('https://hooks/services/T0a1B2c3D4e5F6g7H8i9') }),
  ],
  [
    'a signing secret',
    `whsec_${SIGNING}`,
    anEndpoint({ secrets: [new Secret(`whsec_${SIGNING}`)] }),
  ],
  ['one without its prefix', SIGNING, anEndpoint({ secrets: [new Secret(`whsec_${SIGNING}`)] })],
  [
    "the proxy's password",
    'pr0xy-pass',
    anEndpoint({
      proxy: {
        url: new URL('http://proxy:3128'),
        authorization: basicAuthorization('me', new Secret('pr0xy-pass')),
      },
    }),
  ],
];

describe.each(FORMS)('a credential %s', (_, make) => {
  it.each(CREDENTIALS)('is withheld: %s', (_, credential, endpoint) => {
    const said = make(credential);
    expect(redact(said, endpoint)).toMatch(/^\[withheld: /);
    expect(redact(`wrong credential: "${said}".\n`, endpoint)).toMatch(/^\[withheld: /);
  });
});

describe('a signing key', () => {
  const endpoint = anEndpoint({ secrets: [new Secret(`whsec_${SIGNING}`)] });

  it.each([
    ['in hexadecimal', hex(SIGNING_BYTES)],
    ['in base64 for URLs', SIGNING_BYTES.toString('base64url')],
    ['in base64, one byte in', base64(Buffer.concat([Buffer.from('k'), SIGNING_BYTES]))],
    ['in base64, two bytes in', base64(Buffer.concat([Buffer.from('k='), SIGNING_BYTES]))],
    ['as a list of bytes', JSON.stringify(SIGNING_BYTES)],
  ])('is withheld %s', (_, said) => {
    expect(redact(`key ${said}`, endpoint)).toBe(
      '[withheld: it repeats a signing secret of this endpoint]',
    );
  });
});

describe('a password without a letter of ASCII', () => {
  const password = '\u043f\u0430\u0440\u043e\u043b\u044c';
  const endpoint = anEndpoint({
    headers: { authorization: basicAuthorization('me', new Secret(password)) },
  });

  it.each([
    password,
    password.toUpperCase(),
    encodeURIComponent(password),
    base64(`me:${password}`),
  ])('is withheld: %s', (said) => {
    expect(repeatedCredential(`no: ${said}`, endpoint)).toBe('a header or the query');
  });
});

const MANY = anEndpoint({
  url: new URL(
    'https://shop.example/hooks/expired?wait=true&v=2026&on=1&thread=false&token=p4ssw0rd',
  ),
  headers: {
    authorization: basicAuthorization('relay', new Secret('live')),
    'x-api-key': new Secret('sk_live_test_9f8e7d'),
    'x-tenant': new Secret('the-key-of-a-shop'),
    accept: new Secret('application/json'),
    'x-empty': new Secret(''),
    'x-flag': new Secret('1'),
  },
  secrets: [new Secret(`whsec_${SIGNING}`)],
});

describe('an ordinary answer', () => {
  it.each([
    'ok',
    '{"ok":true}',
    '{"error":"invalid token","code":401}',
    '{"wait":true,"thread":false,"token":"wrong"}',
    'Bearer?',
    'Unauthorized: the user test has no access to this session',
    'delivered at 2026-11-28T05:15:02Z, port 8080',
    'no such hook: /hooks/expired',
    'expected application/json',
    'deliver the olive',
    '<!DOCTYPE html><html><head><title>502 Bad Gateway</title></head><body>nginx/1.25.3</body></html>',
    'request 7c9e6679-7425-40de-944b-e07fc1f90ae7 failed after 1234567 ms',
    base64('nothing that anybody would know'),
  ])('is shown: %s', (text) => {
    expect(redact(text, MANY)).toBe(text);
  });

  it('is shown printable and truncated', () => {
    expect(redact(`no\n${'x'.repeat(9_000)}`, MANY)).toBe(`no\\x0a${'x'.repeat(197)}…`);
  });

  it('is shown if a credential follows only after the shown part', () => {
    expect(redact(`${'x '.repeat(300)}p4ssw0rd`, MANY)).toMatch(/^x x/);
    expect(redact(`${'x '.repeat(98)}p4ssw0rd`, MANY)).toMatch(/^\[withheld/);
  });
});
