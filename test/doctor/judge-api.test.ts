import { expect, it } from 'vitest';
import { judgeApi } from '../../src/doctor/judge-api.js';
import { Secret } from '../../src/model/secret.js';
import { API_PARTS } from '../support/domain.js';

const page = API_PARTS.page();
const everywhere = { host: '0.0.0.0', port: 9464 };

it('doctor explains why the API is closed, and how to open it', () => {
  expect(judgeApi({ listen: everywhere, page })).toMatchObject([
    { level: 'warning', subject: 'admin api', text: expect.stringContaining('403') },
  ]);
});

it('doctor says nothing about an API that is protected, disabled, or for this machine alone', () => {
  const authorization = new Secret('Basic b3BzOnA=');
  expect(judgeApi({ listen: everywhere, page: { ...page, authorization } })).toEqual([]);
  expect(judgeApi({ listen: everywhere, page: { ...page, enabled: false } })).toEqual([]);
  expect(judgeApi({ listen: { host: '127.0.0.1', port: 9464 }, page })).toEqual([]);
});
