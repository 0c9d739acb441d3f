/** Checks the sources against the rules of the project; each ban names its replacement. */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const SRC = fileURLToPath(new URL('../src', import.meta.url));
const LINES_MAX = 450;

/** The code without comments and literals, to which the bans do not apply. */
function codeOf(text: string): string {
  return text.replaceAll(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, '');
}

const sources = readdirSync(SRC, { recursive: true, encoding: 'utf8' })
  .filter((path) => path.endsWith('.ts'))
  .map((path) => {
    const text = readFileSync(join(SRC, path), 'utf8');
    return { path: path.replaceAll('\\', '/'), text, code: codeOf(text) };
  });

interface Ban {
  readonly what: RegExp;
  readonly instead: string;
  /** Where it is allowed. */
  readonly except: readonly string[];
}

const BANS: readonly Ban[] = [
  {
    what: /\bDate\.now\(|new Date\(\)|performance\.now\(/,
    instead: 'ask the Clock that is passed in',
    except: ['lib/clock.ts'],
  },
  {
    what: /\bset(Timeout|Interval)\(/,
    instead: 'use clock.sleep or clock.after',
    except: ['lib/clock.ts'],
  },
  {
    what: /Math\.random\(|randomUUID\(/,
    instead: 'use the Chance that is passed in',
    except: ['lib/clock.ts'],
  },
  {
    what: /\.reveal\(\)/,
    instead: 'leave the Secret as it is: only what signs, sends or logs in may see it',
    except: [
      'model/secret.ts',
      'config/certificates.ts',
      'signing/sign.ts',
      'delivery/request.ts',
      'delivery/connect.ts',
      'delivery/proxy-connect.ts',
      'delivery/credential-terms.ts',
      'redis/connect.ts',
      'redis/lasting.ts',
      'redis/socket.ts',
      'redis/tls-problem.ts',
    ],
  },
  { what: /\bexport default\b/, instead: 'export it by its name', except: [] },
  { what: /process\.(env|argv|exit|on)\b/, instead: 'take it from main.ts', except: ['main.ts'] },
  {
    what: /AbortSignal\.any\(/,
    instead: 'pass one signal on: Node 20 never frees those made from signals that live long',
    except: [],
  },
  { what: /\bconsole\./, instead: 'add a function to telemetry/', except: [] },
  {
    what: /from '\.[^']*(?<!\.js)'/,
    instead: 'write the import with its .js extension',
    except: [],
  },
  {
    what: /\b(?:class|function|const|interface|type)\s+\w*(?:Job|Task|Handler|Manager|Service|Util|Helper)\w*/i,
    instead: 'use a word of vocabulary.ts',
    except: [],
  },
];

describe('every source', () => {
  it.each(BANS)('does not contain $what: $instead', ({ what, except }) => {
    const offenders = sources.filter(({ path, code }) => what.test(code) && !except.includes(path));
    expect(offenders.map(({ path }) => path)).toEqual([]);
  });

  it(`has at most ${LINES_MAX} lines: split a longer one`, () => {
    const long = sources.filter(({ text }) => text.split('\n').length > LINES_MAX + 1);
    expect(long.map(({ path }) => path)).toEqual([]);
  });

  it('is named in kebab-case, by a word of the vocabulary', () => {
    const bad = sources.filter(({ path }) => !/^[a-z/-]+(\.d)?\.ts$/.test(path));
    const banned = sources.filter(({ path }) => /job|task|handler|manager|service|util/.test(path));
    expect([...bad, ...banned].map(({ path }) => path)).toEqual([]);
  });
});

/** The folders of src/ from the ground up; an import never leads to a higher one. */
const FLOORS: readonly string[] = [
  'model',
  'lib',
  'signing',
  'redis',
  'routing',
  'payload',
  'server',
  'state',
  'deadlines',
  'outbox',
  'telemetry',
  'admin',
  'source',
  'delivery',
  'values',
  'capture',
  'config',
  'receiver',
  'watch',
  'doctor',
  'stores.ts',
  'partition',
  'app.ts',
  'cli',
  'main.ts',
];

const floorOf = (path: string) => FLOORS.indexOf(path.split('/')[0] ?? '');

const imports = new Map(
  sources.map(({ path, code }) => [
    path,
    [...code.matchAll(/(?:from |import\()'(\.[^']+)\.js'/g)].map(([, target = '']) =>
      relative(SRC, join(SRC, dirname(path), `${target}.ts`)).replaceAll('\\', '/'),
    ),
  ]),
);

describe('imports', () => {
  it('lead to the same or a lower layer, never to a higher one', () => {
    const upward = [...imports].flatMap(([path, targets]) =>
      targets.filter((t) => floorOf(t) > floorOf(path)).map((t) => `${path} → ${t}`),
    );
    expect(upward).toEqual([]);
    expect([...imports.keys()].filter((path) => floorOf(path) === -1)).toEqual([]);
  });

  it.each(['app.ts', 'stores.ts', 'partition/partition.ts'])(
    'are used top-down in %s: no object refers to one that is created later',
    (path) => {
      const { code = '' } = sources.find((source) => source.path === path) ?? {};
      const early = code
        .split(/^(?=\S)/m)
        .flatMap((block) =>
          Array.from(block.matchAll(/^ +const (\w+) = /gm)).filter(
            ({ index, 1: name }) => block.search(new RegExp(`(?<![.#\\w])${name}\\b(?!:)`)) < index,
          ),
        );
      expect(early.map(([, name]) => name)).toEqual([]);
    },
  );

  it('form no circle', () => {
    const circles: string[] = [];
    const walk = (path: string, trail: readonly string[]) => {
      if (trail.includes(path)) return circles.push([...trail, path].join(' → '));
      for (const target of imports.get(path) ?? []) walk(target, [...trail, path]);
      return;
    };
    walk('main.ts', []);
    expect(circles).toEqual([]);
  });

  it('keep capture and delivery apart: they share only the outbox contract', () => {
    const apart = [...imports].flatMap(([path, targets]) =>
      targets
        .filter(
          (target) =>
            (path.startsWith('capture/') && /^(delivery|source)\//.test(target)) ||
            (path.startsWith('delivery/') && /^(capture|source)\//.test(target)) ||
            (/^(capture|delivery)\//.test(path) && /^outbox\/(?!outbox\.ts)/.test(target)),
        )
        .map((target) => `${path} → ${target}`),
    );
    expect(apart).toEqual([]);
  });

  it('let only stores.ts choose the stores of outbox, deadlines and values', () => {
    const pickers = [...imports].filter(([, targets]) =>
      targets.some((target) =>
        /^(outbox|deadlines|values)\/memory-(outbox|deadlines|values)\.ts$/.test(target),
      ),
    );
    expect(pickers.map(([path]) => path)).toEqual(['stores.ts']);
  });
});
