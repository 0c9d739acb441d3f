import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { isAllowed, judgeCommands, judgeRights } from '../../src/doctor/judge-rights.js';
import { deduce, type ProbeAnswer } from '../../src/doctor/probe-rights.js';
import { type Probe, rightsInRedis, rightsInState } from '../../src/doctor/rights.js';
import type { Route } from '../../src/model/vocabulary.js';
import { compilePattern } from '../../src/routing/pattern.js';
import { blockOf } from '../support/doc-pages.js';
import { redisSettings, theSettings } from '../support/doctor-readings.js';
import { aRoute } from '../support/domain.js';

const SEVEN = { hasReadRules: true, hasPexpiretime: true, hasNoTouch: false, evictsByUse: false };
const routesOf = (...sources: string[]) => [aRoute({ patterns: sources.map(compilePattern) })];
const everything = theSettings({ routes: routesOf('*') });
const namesOf = (rights: { rights: readonly { rule: string }[] }) =>
  rights.rights.map(({ rule }) => rule);

describe('the permissions', () => {
  const documented = blockOf('docs/operations/redis.md', 'sh', 'ACL SETUSER')
    .replaceAll(/\\\n|'/g, ' ')
    .split(/\s+/)
    .filter((word) => /^([+~%&])/.test(word) && word !== '+@all');

  it('are those of the documentation', () => {
    expect(namesOf(rightsInRedis(everything, SEVEN)).sort()).toEqual([...documented].sort());
    const noTouch = rightsInRedis(everything, {
      hasReadRules: true,
      hasPexpiretime: true,
      hasNoTouch: true,
      evictsByUse: true,
    });
    expect(namesOf(noTouch)).toContain('+client|no-touch');
  });

  it('are fewer where the relay never changes the server, and where the state is elsewhere', () => {
    const redis = redisSettings({ notifications: 'require' });
    const state = { kind: 'memory', prefix: 'expiry-relay' } as const;
    const fewer = namesOf(
      rightsInRedis(theSettings({ redis, state, routes: routesOf('*') }), SEVEN),
    );
    expect(documented.filter((rule) => !fewer.includes(rule))).toEqual(
      documented.filter((rule) =>
        /^(\+(config|publish|setnx|pttl|eval|evalsha|info|del|unlink|rename|@.*)|&.*:marks)$/.test(
          rule,
        ),
      ),
    );
  });

  it('cover every command of the state scripts', () => {
    const src = fileURLToPath(new URL('../../src', import.meta.url));
    const lua = readdirSync(src, { recursive: true, encoding: 'utf8' })
      .filter((path) => /scripts(\/.*)?\.ts$|lease\.ts$/.test(path))
      .map((path) => readFileSync(join(src, path), 'utf8'))
      .join('');
    const given = new Set(
      [...lua.matchAll(/redis\.p?call\(\s*'([A-Z]+)'(?:,\s*'([A-Z]+)')?/g)].map(([, name, sub]) =>
        /^(XGROUP|XINFO)$/.test(name ?? '') ? `${name} ${sub}` : name,
      ),
    );
    const probed = rightsInState('p').probes.map(({ words }) => words.join(' '));
    const unprobed = [...given].filter(
      (name) => !probed.some((text) => text.startsWith(`${name}`)),
    );
    expect(given.size).toBeGreaterThan(20);
    expect(unprobed).toEqual([]);
  });

  it('name the keys of the routes, as narrowly as Redis can', () => {
    const routes = routesOf('order:{id}:unpaid', 'a[bc]\\{d?', 'with blank:*');
    const { probes } = rightsInRedis(theSettings({ routes }), SEVEN);
    const reads = probes.filter(({ words }) => words[0] === 'PEXPIRETIME');
    expect(reads.map(({ words, object }) => [object, words[1]])).toEqual([
      ['%R~order:*:unpaid', 'order:x:unpaid'],
      ['%R~a[bc]\\{d?', 'ab{dx'],
      ['%R~*', 'with blank:x'],
    ]);
    const old = rightsInRedis(theSettings({ routes }), {
      hasReadRules: false,
      hasPexpiretime: false,
      hasNoTouch: false,
      evictsByUse: false,
    });
    expect(namesOf(old)).toEqual(expect.arrayContaining(['+pttl', '~order:*:unpaid']));
  });

  it('cover values, where routes include them, and the keys that are looked up', () => {
    const rules = (given: Partial<Route>) =>
      namesOf(
        rightsInRedis(
          theSettings({ routes: [aRoute({ patterns: [compilePattern('order:*')], ...given })] }),
          SEVEN,
        ),
      );
    const plain = rules({});
    const asked = rules({ includesValue: true });
    const reading = [
      ...['+type', '+memory|usage', '+getrange', '+hrandfield', '+lrange', '+srandmember'],
      ...['+zrange', '+xrange'],
    ];
    expect(asked.filter((rule) => !plain.includes(rule)).sort()).toEqual(reading.sort());
    const looking = rules({ lookup: 'cart:{id}' });
    expect(looking.filter((rule) => !asked.includes(rule))).toEqual(['%R~cart:*']);
  });

  it('are checked only with commands that change nothing', () => {
    const tried = rightsInRedis(everything, SEVEN).probes.filter(({ isHarmless }) => isHarmless);
    const writing =
      /^(SET|SETNX|DEL|UNLINK|H(DEL|SET|SETNX)|X(ACK|ADD|DEL|GROUP|READGROUP)|Z(ADD|REM|REMRANGEBYSCORE)|CONFIG SET)\b/;
    expect(tried.filter(({ words }) => writing.test(words.join(' ')))).toEqual([]);
    expect(tried.length).toBeGreaterThan(20);
  });
});

describe('whether the relay may change the setting', () => {
  const rights = rightsInRedis(everything, SEVEN);
  const mayChange = (answer: ProbeAnswer) =>
    isAllowed(
      rights,
      rights.probes.map(({ words }) => (words[1] === 'SET' ? answer : 'allowed')),
      'CONFIG',
      'SET',
    );

  it('is read from Redis, and unknown if it is hidden', () => {
    expect(mayChange('allowed')).toBe(true);
    expect(mayChange('no_command')).toBe(false);
    expect(mayChange('unknown')).toBeNull();
    expect(isAllowed(rights, [], 'CONFIG', 'SET')).toBeNull();
  });
});

/** A probe for writing keys that the relay only reads. */
const isWider = (command: string | null, object: string | null) =>
  command === null && object === '%R~*';

describe('a missing permission', () => {
  const rights = rightsInRedis(everything, SEVEN);
  const judged = (answerOf: (probe: Probe) => ProbeAnswer, username = 'relay', port = 6379) => {
    const address = { ...everything.redis, username, host: '127.0.0.1', port };
    return judgeRights(rights, rights.probes.map(answerOf), address, 'permissions');
  };

  it('is not reported when all are granted', () => {
    expect(judged(() => 'allowed')).toMatchObject({
      level: 'ok',
      text: 'user relay has all required permissions',
    });
  });

  it.each<[string, (probe: Probe) => ProbeAnswer, 'problem' | 'warning', string]>([
    [
      'one command of a class',
      ({ words }) => (words[0] === 'XADD' ? 'no_command' : 'allowed'),
      'problem',
      'redis-cli ACL SETUSER relay +@stream',
    ],
    [
      'a subcommand',
      ({ words }) => (words[1] === 'CREATE' ? 'no_command' : 'allowed'),
      'problem',
      'redis-cli ACL SETUSER relay +@stream',
    ],
    [
      'an optional permission',
      ({ words }) => (words[0] === 'CLIENT' ? 'no_command' : 'allowed'),
      'warning',
      "redis-cli ACL SETUSER relay '+client|setname'",
    ],
    [
      'the keys of the relay',
      ({ object }) => (object?.startsWith('~') ? 'no_object' : 'allowed'),
      'problem',
      "redis-cli ACL SETUSER relay '~{expiry-relay}:*'",
    ],
    [
      'a channel',
      ({ words }) => (words[1] === '__keyevent@0__:del' ? 'no_object' : 'allowed'),
      'problem',
      "redis-cli ACL SETUSER relay '&__keyevent@0__:*'",
    ],
    [
      'a command, which hides whether its keys are allowed',
      ({ words }) => (words[0] === 'SUBSCRIBE' ? 'no_command' : 'allowed'),
      'problem',
      "redis-cli ACL SETUSER relay +subscribe '&__keyevent@0__:*'",
    ],
    [
      'a command whose keys are allowed according to another command',
      ({ words }) => (words[0] === 'PEXPIRETIME' ? 'no_command' : 'allowed'),
      'problem',
      'redis-cli ACL SETUSER relay +pexpiretime',
    ],
    [
      'a command and its keys, which a wider command does not show',
      ({ words, command, object }) =>
        words[0] === 'PEXPIRETIME'
          ? 'no_command'
          : isWider(command, object)
            ? 'no_object'
            : 'allowed',
      'problem',
      "redis-cli ACL SETUSER relay +pexpiretime '%R~*'",
    ],
  ])('%s is granted by one command', (_, answerOf, level, command) => {
    expect(judged(answerOf)).toMatchObject({ level, command });
  });

  it('is granted by a command with possibly redundant patterns, and the advice mentions that', () => {
    const found = judged(({ words }) => (words[0] === 'SUBSCRIBE' ? 'no_command' : 'allowed'));
    expect(found.advice).toContain('run (omit patterns that Redis reports to have no effect):');
  });

  it('is reported as unverified if the check failed', () => {
    const found = judged(({ isHarmless }) => (isHarmless ? 'allowed' : 'unknown'));
    expect(found).toMatchObject({ level: 'note', advice: null });
    expect(found.text).toContain(
      'could not be verified: +set +config +setnx +del +unlink +rename +@hash +@stream +@sortedset +publish',
    );
  });

  it('is granted together with unverified ones by one command', () => {
    const answerOf = ({ words, isHarmless }: Probe) =>
      !isHarmless ? 'unknown' : words[0] === 'SCAN' ? 'no_command' : 'allowed';
    const { level, command } = judged(answerOf, "o'x");
    expect(level).toBe('problem');
    expect(command).toContain("ACL SETUSER 'o'\\''x' +scan +set +config +setnx");
  });
});

describe('the check of complete commands by a script', () => {
  const rights = rightsInRedis(everything, SEVEN);
  const judged = (isAllowedTo: (probe: Probe) => boolean) => {
    const said = rights.probes.map((probe) => (isAllowedTo(probe) ? 'allowed' : 'denied'));
    const address = { ...everything.redis, username: 'relay' };
    return judgeRights(rights, deduce(rights.probes, said), address, 'permissions').text;
  };
  const isOwn = ({ object }: Probe) => object?.startsWith('~{') === true;

  it('finds the denied command, if EVAL shows that its key is allowed', () => {
    expect(judged(({ words }) => words[0] !== 'SETNX')).toBe('user relay lacks +setnx');
  });

  it('finds a denied key, if the command is allowed with another one', () => {
    expect(judged((probe) => probe.object !== '%R~*')).toBe(
      'user relay lacks %R~*; could not be verified: +pexpiretime',
    );
  });

  it('finds a key that may only be read', () => {
    const reads =
      /^(GET|EXISTS|PTTL|H(EXISTS|GET|GETALL|LEN|MGET)|X(INFO|LEN|PENDING|RANGE)|Z(CARD|MSCORE|RANGE|RANGEBYSCORE|SCAN|SCORE))$/;
    const found = judged((probe) => !isOwn(probe) || reads.test(probe.words[0] ?? ''));
    expect(found).toMatch(/^user relay lacks ~\{expiry-relay\}:\*; could not be verified: \+set /);
    expect(found).not.toMatch(/lacks [^;]*\+/);
  });

  it('finds the denied read command, if another one may read the key', () => {
    const isDenied = ({ words, object }: Probe) =>
      object === '%R~*' && (words[0] === 'PEXPIRETIME' || words[0] === 'EVAL');
    expect(judged((probe) => !isDenied(probe))).toBe('user relay lacks +pexpiretime');
  });
});

describe('a command that the server does not have', () => {
  const rights = rightsInRedis(everything, SEVEN);
  const lacking = (...names: string[]) =>
    rights.probes.map(
      ({ words }): ProbeAnswer => (names.includes(words[0] ?? '') ? 'absent' : 'allowed'),
    );

  it('is not reported as a missing permission, since no rule grants it', () => {
    const address = { ...everything.redis, username: 'relay' };
    expect(
      judgeRights(rights, lacking('ROLE', 'SETNX', 'HGET'), address, 'permissions').level,
    ).toBe('ok');
  });

  it('is a problem when the relay requires it', () => {
    expect(judgeCommands(rights, lacking('ROLE', 'CONFIG', 'INFO', 'CLIENT'), 'commands')).toEqual(
      [],
    );
    expect(judgeCommands(rights, lacking('TIME', 'HGET'), 'commands')).toMatchObject([
      { level: 'problem', text: 'the server lacks required commands: TIME, HGET' },
    ]);
  });
});
