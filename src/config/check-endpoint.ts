/** Checks the keys of one endpoint against each other. Pure. */
import { isForbiddenAddress } from '../delivery/forbidden-addresses.js';
import { endpointFields } from './endpoint-schema.js';
import type { Complaint } from './mistakes.js';
import { asMapping, type Path } from './path.js';
import { complain, parseIfValid, type Section } from './sections.js';
import { mismatch } from './wording.js';

/** Header names must be unique; `basic` sets one. */
function checkHeaders(path: Path, endpoint: Section): Complaint[] {
  const seen = new Set<string>();
  return Object.keys(asMapping(endpoint.headers) ?? {}).flatMap((header) => {
    const name = header.toLowerCase();
    const place = [...path, 'headers', header];
    if (seen.has(name)) {
      return [complain(place, mismatch('each header once, regardless of case'), 'name')];
    }
    seen.add(name);
    if (name !== 'authorization' || endpoint.basic === undefined) return [];
    const found = 'it beside basic, which sets the same header';
    return [complain(place, mismatch('no authorization here', { found }), 'key')];
  });
}

function checkBasic(path: Path, endpoint: Section): Complaint[] {
  const basic = asMapping(endpoint.basic);
  if (basic === null) return [];
  const given = ['password', 'password_file'].filter((key) => basic[key] !== undefined);
  if (given.length === 1) return [];
  const found = given.length === 0 ? 'neither' : 'both';
  const wording = mismatch('password or password_file', { found });
  return given.length === 0
    ? [complain([...path, 'basic'], wording)]
    : [complain([...path, 'basic', 'password_file'], wording, 'key')];
}

/** A certificate and its key need each other. */
export function checkKeyPair(path: Path, tls: Section): Complaint[] {
  const pair = ['cert_file', 'key_file'].filter((key) => tls[key] !== undefined);
  const [only] = pair;
  if (only === undefined || pair.length === 2) return [];
  const wording = mismatch('cert_file and key_file together', { found: `${only} alone` });
  return [complain([...path, only], wording, 'key')];
}

function checkTls(path: Path, endpoint: Section): Complaint[] {
  const tls = asMapping(endpoint.tls);
  if (tls === null || Object.keys(tls).length === 0) return [];
  const url = parseIfValid(endpointFields.url, endpoint.url);
  const complaints: Complaint[] = [];
  if (url?.protocol === 'http:') {
    const wording = mismatch('an https:// URL beside it', { found: 'http://' });
    complaints.push(complain([...path, 'tls'], wording, 'key'));
  }
  return [...complaints, ...checkKeyPair([...path, 'tls'], tls)];
}

/** Checks literal addresses; addresses of names are checked when an attempt connects. */
function checkAddresses(path: Path, endpoint: Section): Complaint[] {
  if (parseIfValid(endpointFields.allow_link_local, endpoint.allow_link_local)) return [];
  const urls = {
    url: parseIfValid(endpointFields.url, endpoint.url),
    proxy: parseIfValid(endpointFields.proxy, endpoint.proxy)?.url,
  };
  return Object.entries(urls).flatMap(([key, url]) => {
    if (url === undefined || !isForbiddenAddress(url.hostname)) return [];
    const wording = mismatch("a host that is neither link-local nor a cloud's metadata", {
      found: 'such an address',
      hint: 'if the address is intended, set allow_link_local: true',
    });
    return [complain([...path, key], wording)];
  });
}

export function checkEndpoint(path: Path, endpoint: Section): Complaint[] {
  return [
    ...checkHeaders(path, endpoint),
    ...checkBasic(path, endpoint),
    ...checkTls(path, endpoint),
    ...checkAddresses(path, endpoint),
  ];
}
