/** The JSON API of the admin port, under /api/v1. */
import type { ReloadResult } from '../model/reload.js';
import type { Access } from './access.js';
import { type Answer, jsonAnswer, type Request } from './http.js';

const ROOT = '/api/v1/';

export interface ApiParts {
  readonly access: Pick<Access, 'refuse'>;
  readonly reload: () => Promise<ReloadResult>;
}

/** What can be done at a path. */
interface Resource {
  readonly method: 'GET' | 'POST';
  readonly answer: () => Promise<Answer>;
}

export class Api {
  readonly #parts: ApiParts;
  /** By the path below the root. */
  readonly #resources: ReadonlyMap<string, Resource>;

  constructor(parts: ApiParts) {
    this.#parts = parts;
    const reload: Resource = {
      method: 'POST',
      answer: async () => reloadAnswer(await parts.reload()),
    };
    this.#resources = new Map([['reload', reload]]);
  }

  /** Whether the API answers the request. */
  has({ path }: Request): boolean {
    return path.startsWith(ROOT);
  }

  async answer(request: Request): Promise<Answer> {
    const { method, path } = request;
    const resource = this.#resources.get(path.slice(ROOT.length));
    const isChange = method !== 'GET' && method !== 'HEAD';
    const refusal = this.#parts.access.refuse(request, isChange);
    if (refusal !== null) return refusal;
    if (resource === undefined) {
      const paths = Array.from(this.#resources.keys(), (name) => ROOT + name);
      return jsonAnswer(404, { error: `not found: the API has ${paths.join(', ')}` });
    }
    if (method !== resource.method) {
      const answer = jsonAnswer(405, { error: `method not allowed: use ${resource.method}` });
      return { ...answer, headers: { allow: resource.method } };
    }
    return resource.answer();
  }
}

function reloadAnswer(result: ReloadResult): Answer {
  switch (result.kind) {
    case 'applied':
      return jsonAnswer(200, { result: result.kind, changed: result.keys });
    case 'invalid': {
      const error = 'the configuration is invalid; the previous one is in use';
      return jsonAnswer(422, { result: result.kind, error, mistakes: result.mistakes });
    }
    case 'restart_required': {
      const error = 'restart required: these keys cannot be changed while the relay runs';
      return jsonAnswer(409, { result: result.kind, error, changed: result.keys });
    }
  }
}
