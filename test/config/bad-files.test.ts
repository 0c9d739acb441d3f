// cspell:ignore cloudevent flie pathh shpo
/** One file per error in test/config/testdata, each with all of its messages. */
import { readdir } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { loadSettings } from '../../src/config/load.js';
import { SettingsError } from '../../src/model/errors.js';

const cwd = new URL('./testdata', import.meta.url).pathname;

/** By the name of the error: the lines, each after `<name>.yaml:`. */
const EXPECTED: Readonly<Record<string, readonly string[]>> = {
  'bad-admin-page': [
    '2:10: admin.page.username: expected password_file beside username, found none',
    '2:41: admin.page.allowed_hosts[0]: expected a host name such as relay.internal, found "a b"',
    '2:49: admin.page: unknown key "typo"',
  ],
  'bad-headers': [
    '5:16: endpoints.shop.headers: expected a header that the relay does not set, found "Host"',
    '5:32: endpoints.shop.headers.x-bad: expected a header value: one line of Latin-1 text, found one with a line break (it contains a newline at character 2)',
    '5:52: endpoints.shop.headers: expected each header once, regardless of case, found "x-twice"',
  ],
  'bad-body': [
    '10:14: routes[0].body.order: expected known names, found "{oder_id}" ({oder_id} is unknown; known names are {id}, {shop}, {key}, {database}, {expired_at}, {detected_at}, {detected_by}, {timestamp}, {route}, {type}, {webhook_id}, {value}, {value_base64}, {value_omitted}, {value_read_at}, {lookup}, {lookup_base64}, {lookup_omitted}, {lookup_read_at})',
    '11:18: routes[0].body.list[1]: expected known names, found "for {ids}" ({ids} is unknown; did you mean {id}?)',
    '11:31: routes[0].body.list[2]: expected fields of value and lookup alone, found "{id.x}" ({id.x} has none)',
    '12:13: routes[0].body.shop: expected only {name}s that every pattern captures, found "{shop}" ({shop} is not captured by every pattern)',
    '13:16: routes[0].body.nothing: expected known names, found "{nowhere}" ({nowhere} is unknown; known names are {id}, {shop}, {key}, {database}, {expired_at}, {detected_at}, {detected_by}, {timestamp}, {route}, {type}, {webhook_id}, {value}, {value_base64}, {value_omitted}, {value_read_at}, {lookup}, {lookup_base64}, {lookup_omitted}, {lookup_read_at})',
    '14:14: routes[0].body.value: expected include: [value] beside {value}, found none',
    '15:15: routes[0].body.lookup: expected lookup beside {lookup}, found none',
    '20:13: routes[1].body.open: expected a string such as "order {id}", found "{id" (each { needs a name and a }; {{ and }} stand for braces)',
    '21:13: routes[1].body.near: expected known names, found "{ip}" ({ip} is unknown; did you mean {id}?)',
    '22:13: routes[1].body.bare: expected "{id}" in quotes, found no quotes',
    '23:13: routes[1].body.text: expected a string such as "order {id}", found "{"order": "{id}"}" (each { needs a name and a }; {{ and }} stand for braces)',
    '24:15: routes[1].body.number: expected a number that JSON represents exactly, found Infinity (put it in quotes)',
    '25:15: routes[1].body.digits: expected a number that JSON represents exactly, found 12345678901234567000 (put it in quotes)',
    '29:19: routes[2].body.order: expected "{id}" in quotes, found no quotes',
    '29:32: routes[2].body.more[0]: expected "{key}" in quotes, found no quotes',
    '33:12: routes[3].body[0]: expected unambiguous names, found "{type}" ({type} is also captured by a pattern: rename the capture)',
    '37:10: routes[4].body: expected a structure such as {order: "{id}"}, or none, found nothing',
    '42:5: routes[5].body: expected format or body, found both',
    '46:5: routes[6].content_type: expected content_type only with body, found it without body',
    '52:14: routes[7].body.order: expected a string or a number, as a form is flat, found a mapping',
    '53:13: routes[7].body.keys: expected a string or a number, as a form is flat, found a list',
    '58:13: routes[8].method: expected one of POST, PUT, PATCH, DELETE, found "GET"',
    '60:11: routes[8].body: expected a mapping from fields to strings, for a form, found a string',
    '64:13: routes[9].format: expected one of standard, cloudevents, found "cloudevent" (did you mean "cloudevents"?)',
    '65:19: routes[9].content_type: expected one of application/json, application/x-www-form-urlencoded, found "text/plain"',
    '66:5: routes[9].body: expected format or body, found both',
  ],
  'bad-dead-letters': [
    '4:11: state.dead_letters.keep: expected a duration such as 250ms, 15s, 1h30m or 1w, found 30 (which unit?)',
    '5:10: state.dead_letters.max: expected a whole number from 1 to 1000000, found 0',
    '6:5: state.dead_letters: unknown key "kep"; did you mean "keep"?',
    '7:27: state.unknown_endpoint_grace: expected a duration from 0ms to 30d, found "31d"',
  ],
  'bad-endpoint': [
    "3:10: endpoints.shop.url: expected a host that is neither link-local nor a cloud's metadata, found such an address (if the address is intended, set allow_link_local: true)",
    '4:15: endpoints.shop.secrets[0]: expected whsec_ and then 24–64 bytes in base64, found a public key (whpk_…), which verifies but cannot sign (generate one with: expiry-relay secret)',
    '4:66: endpoints.shop.secrets[1]: expected whsk_ and then 64 or 32 bytes in base64, found one 3 bytes long (generate one with: expiry-relay secret --asymmetric)',
    '5:16: endpoints.shop.headers.Authorization: expected no authorization here, found it beside basic, which sets the same header',
    '5:41: endpoints.shop.headers.x-key.file: expected the path of a file, found nothing',
    '5:50: endpoints.shop.headers.x-key: unknown key "flie"; did you mean "file"?',
    '6:12: endpoints.shop.basic: expected password or password_file, found neither',
    '6:24: endpoints.shop.basic.username: expected a user name without a colon, found a hidden value, as it may be a secret',
    '7:5: endpoints.shop.tls: expected an https:// URL beside it, found http://',
    '7:12: endpoints.shop.tls.cert_file: expected cert_file and key_file together, found cert_file alone',
    `7:23: endpoints.shop.tls.cert_file: expected a readable file, found "no-such-file.pem" (no such file; looked for in ${cwd})`,
    '8:12: endpoints.shop.proxy: expected a URL such as http://user:password@proxy:3128, found socks5:// (SOCKS is not supported: use an HTTP proxy)',
    '9:23: endpoints.shop.allow_link_local: expected true or false, found "maybe"',
    "11:10: endpoints.audit.url: expected a host that is neither link-local nor a cloud's metadata, found such an address (if the address is intended, set allow_link_local: true)",
    '13:40: endpoints.audit.basic.password_file: expected password or password_file, found both',
    '14:21: endpoints.audit.tls.ca_file: expected a file of certificates in PEM, found one without -----BEGIN CERTIFICATE-----',
    '14:44: endpoints.audit.tls.cert_file: expected a file of certificates in PEM, found one without -----BEGIN CERTIFICATE-----',
    '14:64: endpoints.audit.tls.key_file: expected a file with a private key in PEM, found one without -----BEGIN PRIVATE KEY-----',
    '15:12: endpoints.audit.proxy: expected a URL such as http://user:password@proxy:3128, found one whose user or password is not percent-encoded',
    "19:12: endpoints.mail.proxy: expected a host that is neither link-local nor a cloud's metadata, found such an address (if the address is intended, set allow_link_local: true)",
    '20:12: endpoints.mail.basic: expected password or password_file, found neither',
    '20:24: endpoints.mail.basic.username: expected a user name without a colon, found an empty string',
  ],
  'bad-state': [
    '3:8: state.url: expected a Redis URL such as redis://127.0.0.1:6379, found http:// (use the address for Redis clients, not for HTTP)',
    '4:11: state.prefix: expected a prefix of 1–64 letters, digits, ., _ or -, without braces or colons, found "{tag}"',
  ],
  'capture-twice': [
    '7:12: routes[0].match: expected a glob pattern such as order:{id}:unpaid, found "order:{id}:{id}" (at character 12: expected each name once, found `{id}` again; rename one of them)',
  ],
  'credentials-in-url': [
    '3:10: endpoints.shop.url: expected a URL such as http://shop:8080/hooks, found one with a user or password in it (use basic: {username: …, password: …})',
  ],
  'duplicate-key': ['5:5: duplicate key "url"; it is already on line 3'],
  empty: ['1:1: expected a mapping with endpoints and routes, found nothing'],
  'malformed-secret': [
    '5:9: endpoints.shop.secrets[0]: expected whsec_ and then 24–64 bytes in base64, found one without the prefix whsec_ (generate one with: expiry-relay secret)',
    '6:9: endpoints.shop.secrets[1]: expected whsec_ and then 24–64 bytes in base64, found one whose rest is not padded standard base64 (generate one with: expiry-relay secret)',
    '7:9: endpoints.shop.secrets[2]: expected whsec_ and then 24–64 bytes in base64, found one whose rest is not padded standard base64 (generate one with: expiry-relay secret)',
    '8:9: endpoints.shop.secrets[3]: expected whsec_ and then 24–64 bytes in base64, found one 0 bytes long (generate one with: expiry-relay secret)',
  ],
  many: [
    '2:8: redis.url: the environment variable REDIS_URL is not set',
    '3:18: redis.databases[1]: expected a whole number from 0 to 2147483647, found "x"',
    '4:1: unknown key "endpoint"; did you mean "endpoints"?',
    '7:10: endpoints.shop.url: expected a URL such as http://shop:8080/hooks, found one that begins with neither http:// nor https:// (write http:// before the host)',
    '8:15: endpoints.shop.secrets[0]: expected whsec_ and then 24–64 bytes in base64, found one 7 bytes long (generate one with: expiry-relay secret)',
    '10:5: duplicate key "timeout"; it is already on line 9',
    '10:14: endpoints.shop.timeout: expected a duration such as 250ms, 15s, 1h30m or 1w, found 20 (which unit?)',
    '11:3: endpoints: expected a name of 1–64 letters, digits, - and _, found "mail shop"',
    '16:13: routes[0].match[0]: expected a glob pattern such as order:{id}:unpaid, found "order:[" (at character 7: expected `]` to close the class, found the end; add it, or write `\\[` for a bracket)',
    '17:9: routes[0].to: expected the name of an endpoint, found "shpo" (did you mean "shop"?)',
    '18:11: routes[0].path: expected a path such as /orders/{id}/cancel, found "orders" (it begins with /)',
    '19:5: routes[1].match: expected a glob pattern, or a list of them, found nothing',
    '19:11: routes[1].name: expected a name that no other route has, found "a" (routes[0] has it)',
    '21:18: admin.listen: expected an address such as 127.0.0.1:9464, found 9464',
    '22:15: log.level: expected one of trace, debug, info, warn, error, fatal, silent, found "warning"',
    '23:11: shutdown: expected a mapping, found a string',
  ],
  'no-blank': [
    '1:27: redis: unknown key "password…"; a space is missing after the colon; did you mean "password"?',
    '3:55: endpoints.shop.headers: expected the name of an HTTP header, found "x-api-key…" (a space is missing after the colon)',
    '4:3: endpoints: expected a name of 1–64 letters, digits, - and _, found "mail…" (a space is missing after the colon)',
    '6:33: routes[0].to: expected the name of an endpoint, found "mail"',
    '6:39: routes[0]: unknown key "pathh…"; did you mean "path"?',
    '7:60: duplicate key "type…"; it is already on line 7',
    '7:60: routes[1]: unknown key "type…"; a space is missing after the colon; did you mean "type"?',
  ],
  'no-file': [
    '4:23: endpoints.shop.secrets[0].file: expected a readable file, found "/no/such/shop.key" (no such file)',
    '4:52: endpoints.shop.secrets[1].file: expected a readable file, found "/no/where/key" (no such file)',
    `5:31: endpoints.shop.headers.x-key.file: expected a readable file, found a hidden value, as it may be a secret (no such file; looked for in ${cwd})`,
    `5:65: endpoints.shop.headers.x-more.file: expected a readable file, found a hidden value, as it may be a secret (no such file; looked for in ${cwd})`,
    `6:21: endpoints.shop.tls.ca_file: expected a readable file, found "certs/ca.pem" (no such file; looked for in ${cwd})`,
  ],
  'other-names': [
    '3:10: endpoints.shop.url: expected a URL such as http://shop:8080/hooks, found one with a user or password in it (use basic: {username: …, password: …})',
    '4:5: endpoints.shop: unknown key "secrets_file"; did you mean secrets: [{file: …}]?',
    '5:12: endpoints.shop.tls: unknown key "ca"; did you mean "ca_file"?',
    '5:24: endpoints.shop.tls: unknown key "insecure"; certificates are always verified; set ca_file to the authority of the certificate',
    '5:40: endpoints.shop.tls: unknown key "rejectUnauthorized"',
    '5:67: endpoints.shop.tls: unknown key',
    '6:14: endpoints.shop.basic: unknown key "user"; did you mean "username"?',
    '7:5: endpoints.shop: unknown key "path"; it belongs to the route, under routes',
    '8:5: endpoints.shop: unknown key "name"; the name of an endpoint is its key',
    '11:15: endpoints.mail.secrets[0].file: expected the path of a file, found nothing',
    '11:17: endpoints.mail.secrets[0]: unknown key "fil"; did you mean "file"?',
    '11:27: endpoints.mail.secrets[1].file: expected the path of a file, found nothing',
    '11:29: endpoints.mail.secrets[1]: unknown key',
    '12:16: endpoints.mail.headers.x-key.file: expected the path of a file, found nothing',
    '12:25: endpoints.mail.headers.x-key: unknown key "path"',
    '17:5: routes[0]: unknown key "headers"; it belongs to the endpoint, under endpoints',
    '18:5: routes[0]: unknown key "timeout"; it belongs to the endpoint, under endpoints',
    '19:5: routes[0]: unknown key "bodies"; did you mean "body"?',
    '21:5: routes[1]: unknown key "pattern"; did you mean "match"?',
    '23:14: routes[1].include: expected [value], found a string (put it in [ ])',
  ],
  'other-templates': [
    '9:11: routes[0].path: the environment variable id is not set; did you mean {id}?',
    '10:13: routes[0].lookup: the environment variable id is not set; did you mean {id}?',
    '12:20: routes[0].body.order: the environment variable id is not set; did you mean {id}?',
    `12:36: routes[0].body.total: expected \${NAME}, \${NAME:-default} or \${NAME:?message}, found other characters after \${ (did you mean {value.total}?)`,
    '12:61: routes[0].body.other: the environment variable ID is not set',
    '16:11: routes[1].body: expected a structure such as {order: "{id}"}, or none, found a string that looks like JSON (write it as YAML, without the quotes around it)',
    '20:11: routes[2].body: expected a structure such as {order: "{id}"}, or none, found a string that looks like JSON (write it as YAML, without the quotes around it)',
    '24:20: routes[3].body.order: expected single braces around a name, found "{{id}}" ({id} is replaced by the value; {{ id }} is literal)',
    '24:35: routes[3].body.key: expected single braces around a name, found "a {{key}}" ({key} is replaced by the value; {{ key }} is literal)',
    '28:11: routes[4].path: expected a path such as /orders/{id}/cancel, found "/orders/{ids}#{top}" (no fragment: # never reaches HTTP)',
    '28:11: routes[4].path: expected only {name}s that every pattern captures, found "/orders/{ids}#{top}" ({ids} is not captured by every pattern; did you mean {id}?)',
    '28:11: routes[4].path: expected only {name}s that every pattern captures, found "/orders/{ids}#{top}" ({top} is not captured by every pattern)',
    '32:19: routes[5].content_type: expected one of application/json, application/x-www-form-urlencoded, found "form" (did you mean "application/x-www-form-urlencoded"?)',
    '37:19: routes[6].content_type: expected one of application/json, application/x-www-form-urlencoded, found "application/json; charset=utf-8" (did you mean "application/json"?)',
  ],
  'no-glob': [
    '7:12: routes[0].match: expected a glob pattern such as order:{id}:unpaid, found "order:[0-9" (at character 7: expected `]` to close the class, found the end; add it, or write `\\[` for a bracket)',
  ],
  'no-mapping': ['1:1: expected a mapping with endpoints and routes, found a string'],
  'no-redis-url': [
    '1:15: redis.url: expected a Redis URL such as redis://127.0.0.1:6379, found http:// (use the address for Redis clients, not for HTTP)',
  ],
  'no-secret-file': [
    `4:23: endpoints.shop.secrets[0].file: expected a readable file, found "no-such-secret" (no such file; looked for in ${cwd})`,
  ],
  'no-secrets': [
    '2:3: endpoints.shop.secrets: expected a list of secrets (whsec_…), or the word none, found nothing',
  ],
  'no-unit': [
    '5:14: endpoints.shop.timeout: expected a duration such as 250ms, 15s, 1h30m or 1w, found 15 (which unit?)',
    '6:17: endpoints.shop.rate_limit: expected a rate such as 100/s, 600/m or 1000/h, found 100 (per s, m or h?)',
    '7:29: endpoints.shop.retry.schedule[1]: expected a duration from 0ms to 30d, found "31d"',
    '7:43: endpoints.shop.retry.jitter: expected a number from 0 to 1, found 2',
  ],
  'bad-values': [
    '8:15: routes[0].include[0]: expected one of value, found "values" (did you mean "value"?)',
    '9:16: routes[0].value_max: expected a size from 1B to 1MiB, found "2MiB"',
    '10:13: routes[0].lookup: expected a key such as order:{id}, found "order:{id" (each { needs a name and a })',
    '14:13: routes[1].lookup: expected only {name}s that every pattern captures, found "order:{order}" ({order} is not captured by every pattern)',
    '18:5: routes[2].value_max: expected include: [value] or lookup beside value_max, found neither',
  ],
  'not-yaml': ['8:1: not YAML: expected a closing quote, bracket, comma or colon before this'],
  'bad-redis-tls': [
    '3:3: redis.tls: expected a rediss:// URL in redis.url beside it, found redis://, which is without TLS',
    `3:18: redis.tls.ca_file: expected a readable file, found "ca.pem" (no such file; looked for in ${cwd})`,
    '3:26: redis.tls.cert_file: expected cert_file and key_file together, found cert_file alone',
    `3:37: redis.tls.cert_file: expected a readable file, found "tls.crt" (no such file; looked for in ${cwd})`,
    '3:59: redis.tls.server_name: expected the name of a host, found a hidden value, as it may be a secret',
    '5:3: state.tls: expected a rediss:// URL in state.url beside it, found none (then redis.tls counts)',
    '5:9: state.tls.key_file: expected cert_file and key_file together, found key_file alone',
    `5:19: state.tls.key_file: expected a readable file, found "tls.key" (no such file; looked for in ${cwd})`,
  ],
  'redis-contradiction': [
    "3:3: redis.password: expected one password, found one beside redis.url's (remove one)",
    "4:3: redis.password_file: expected one password, found one beside redis.url's (remove one)",
    `4:18: redis.password_file: expected a readable file, found "redis-password" (no such file; looked for in ${cwd})`,
    "5:14: redis.databases: expected redis.url's database among them, found only others",
    '5:18: redis.databases[1]: expected each database once, found 0',
  ],
  'sentinel-contradiction': [
    '3:3: redis.sentinel: expected url or sentinel, found both (remove one)',
    '4:13: redis.sentinel.master: expected the name of a primary such as mymaster, found "my master"',
    '5:13: redis.sentinel.nodes[0]: expected the address of a Sentinel such as 10.0.0.1:26379, found "redis://s1:26379" (write only the host and port, without a scheme)',
    '5:33: redis.sentinel.nodes[1]: expected the address of a Sentinel such as 10.0.0.1:26379, found "::1" (put the IPv6 address in [ ])',
    '5:40: redis.sentinel.nodes[2]: expected the address of a Sentinel such as 10.0.0.1:26379, found "s2:0" (a port is 1 to 65535)',
    '6:15: redis.sentinel.username: expected a password beside the user name, found none',
    '7:11: redis.sentinel.tls.cert_file: expected cert_file and key_file together, found cert_file alone',
    `7:22: redis.sentinel.tls.cert_file: expected a readable file, found "relay.crt" (no such file; looked for in ${cwd})`,
    '9:3: state.sentinel.master: expected the name of a primary such as mymaster, found nothing',
    '10:12: state.sentinel.nodes: expected a list of 1 to 100, found an empty list',
    '12:5: state.sentinel.password_file: expected password or password_file, found both',
    `12:20: state.sentinel.password_file: expected a readable file, found "sentinel-password" (no such file; looked for in ${cwd})`,
    '13:5: state.sentinel: unknown key "hosts"; did you mean "nodes"?',
  ],
  'cluster-contradiction': [
    '3:3: redis.cluster: expected url or cluster, found both (remove one)',
    '4:13: redis.cluster.nodes[0]: expected a node as host:port, such as 10.0.0.1:6379, found "redis://n1:6379" (write only the host and port, without a scheme)',
    '4:32: redis.cluster.nodes[1]: expected a node as host:port, such as 10.0.0.1:6379, found "::1" (put the IPv6 address in [ ])',
    '4:39: redis.cluster.nodes[2]: expected a node as host:port, such as 10.0.0.1:6379, found "n2:70000" (a port is 1 to 65535)',
    '5:19: redis.cluster.address_map: expected an address such as 10.0.0.1:6379, found "10.0.0.1"',
    '5:59: redis.cluster.address_map.("10.0.0.2…"): expected a node as host:port, such as 10.0.0.1:6379, found "n2:0" (a port is 1 to 65535)',
    '8:3: state.cluster: expected sentinel or cluster, found both (remove one)',
    '9:12: state.cluster.nodes: expected a list of 1 to 1000, found an empty list',
    '10:5: state.cluster: unknown key "hosts"; did you mean "nodes"?',
  ],
  'route-name-twice': [
    '9:11: routes[1].name: expected a name that no other route has, found "cancel-unpaid-order" (routes[0] has it)',
  ],
  'short-secret': [
    '4:15: endpoints.shop.secrets[0]: expected whsec_ and then 24–64 bytes in base64, found one 7 bytes long (generate one with: expiry-relay secret)',
  ],
  'state-contradiction': [
    "4:3: state.username: expected one user name, found one beside state.url's (remove one)",
    "5:3: state.password: expected one password, found one beside state.url's (remove one)",
    "6:3: state.password_file: expected one password, found one beside state.url's (remove one)",
    `6:18: state.password_file: expected a readable file, found "state-password" (no such file; looked for in ${cwd})`,
  ],
  'state-in-memory': [
    '3:3: state.url: expected url only with kind: redis, found it with kind: memory',
    '4:3: state.username: expected username only with kind: redis, found it with kind: memory',
    '5:3: state.password: expected password only with kind: redis, found it with kind: memory',
    '6:3: state.password_file: expected password_file only with kind: redis, found it with kind: memory',
    '8:3: state.dead_letters: expected dead_letters only with kind: redis, found it with kind: memory',
    '9:3: state.unknown_endpoint_grace: expected unknown_endpoint_grace only with kind: redis, found it with kind: memory',
  ],
  'state-without-password': [
    '5:13: state.username: expected a password beside the user name, found none',
  ],
  unclosed: ['2:1: not YAML: the indentation of this line matches no line above it'],
  tab: ['10:1: not YAML: expected spaces as indentation, found a tab'],
  'two-documents': ['9:1: expected one YAML document, found a second one here (after ---)'],
  'two-state-passwords': [
    '4:3: state.password_file: expected password or password_file, found both',
  ],
  'uncaptured-placeholder': [
    '9:11: routes[0].path: expected only {name}s that every pattern captures, found "/orders/{order}/cancel" ({order} is not captured by every pattern)',
  ],
  'unknown-endpoint': [
    '8:10: routes[0].to[0]: expected the name of an endpoint, found "shpo" (did you mean "shop"?)',
    '8:16: routes[0].to[1]: expected the name of an endpoint, found "nowhere"',
    '8:31: routes[0].to[3]: expected each endpoint once, found "shop"',
  ],
  'unknown-key': [
    '1:1: unknown key "endpoint"; did you mean "endpoints"?',
    '9:5: routes[0]: unknown key "pathh"; did you mean "path"?',
  ],
  'unknown-tag': [
    "5:14: expected no tag (!…) other than YAML's own; put texts that begin with a special character in quotes",
  ],
  'unquoted-star': [
    '7:12: expected an alias of an anchor above it, found none of that name (put a string that begins with * in quotes)',
  ],
  'unset-variable': [
    '6:22: endpoints.shop.headers.authorization: the environment variable SHOP_TOKEN is not set',
  ],
  'unterminated-variable': [
    `10:10: log.level: expected a } after \${, found none (for a literal \${ write $\${)`,
  ],
};

async function linesOf(file: string): Promise<string[]> {
  const loaded = loadSettings({ file, env: {}, cwd });
  const thrown = await loaded.then(
    () => new Error('it was accepted'),
    (reason: unknown) => reason,
  );
  if (!(thrown instanceof SettingsError)) throw thrown;
  return thrown.message.split('\n');
}

describe('a file with an error', () => {
  it.each(Object.entries(EXPECTED))('is refused: %s', async (mistake, expected) => {
    const file = `${mistake}.yaml`;
    expect(await linesOf(file)).toEqual(expected.map((line) => `${file}:${line}`));
  });

  it('has its messages in this test', async () => {
    const mistakes = (await readdir(cwd)).map((name) => name.replace(/\.yaml$/, ''));
    expect(mistakes.toSorted()).toEqual(Object.keys(EXPECTED).toSorted());
  });
});
