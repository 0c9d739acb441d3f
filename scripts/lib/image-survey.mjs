/** The contents of the image, listed from the inside, and checks of them. */
import assert from 'node:assert/strict';

const APP_FILES = ['/app/LICENSE', '/app/dist/', '/app/node_modules/', '/app/package.json'];
const SHELLS = new Set(['sh', 'bash', 'dash', 'ash', 'zsh', 'busybox']);

/**
 * @typedef {{ paths: string[], writable: string[] }} Survey paths: absolute, folders end in a slash
 * @typedef {{ dependencies: object, devDependencies: object }} Manifest
 */

/**
 * Runs inside the image, which has nothing else that could list files: hence self-contained.
 * Prints a Survey; `writable` is what its user may write below /app.
 */
export async function surveyFromInside() {
  const { accessSync, constants, readdirSync } = await import('node:fs');
  /** @type {Survey} */
  const survey = { paths: [], writable: [] };
  /** @param {string} path */
  const isWritable = (path) => {
    try {
      accessSync(path, constants.W_OK);
      return true;
    } catch {
      return false;
    }
  };
  /** @param {string} folder */
  const entriesOf = (folder) => {
    try {
      return readdirSync(folder, { withFileTypes: true });
    } catch {
      return []; // Owned by root, and not readable by the user.
    }
  };
  /** @param {string} folder */
  const visit = (folder) => {
    if (folder.startsWith('/app/') && isWritable(folder)) survey.writable.push(folder);
    for (const entry of entriesOf(folder)) {
      const path = `${folder}${entry.name}${entry.isDirectory() ? '/' : ''}`;
      survey.paths.push(path);
      if (['/proc/', '/sys/', '/dev/'].includes(path)) continue;
      if (entry.isDirectory()) visit(path);
      else if (path.startsWith('/app/') && isWritable(path)) survey.writable.push(path);
    }
  };
  visit('/');
  process.stdout.write(JSON.stringify(survey));
}

/** @param {Survey} survey */
export function hasNoShell({ paths }) {
  const shells = paths.filter((path) => SHELLS.has(path.split('/').at(-1) ?? ''));
  assert.deepEqual(shells, []);
}

/** @param {Survey} survey */
export function holdsOnlyTheApp({ paths }) {
  assert.deepEqual(paths.filter((path) => /^\/app\/[^/]+\/?$/.test(path)).sort(), APP_FILES);
  const notBuilt = paths.filter((path) => /^\/app\/dist\/.*(?<!\.js|\/)$/.test(path));
  assert.deepEqual(notBuilt, [], 'expected nothing but .js in dist');
  const left = paths.filter((path) => /\/(package-lock\.json|tsconfig\.json|\.npm\/)$/.test(path));
  assert.deepEqual(
    left.filter((path) => !path.startsWith('/app/node_modules/')),
    [],
  );
}

/**
 * @param {Survey} survey
 * @param {Manifest} manifest
 */
export function holdsOnlyProductionDependencies({ paths }, manifest) {
  const installed = (/** @type {string} */ name) => paths.includes(`/app/node_modules/${name}/`);
  assert.deepEqual(
    Object.keys(manifest.dependencies).filter((name) => !installed(name)),
    [],
  );
  assert.deepEqual(Object.keys(manifest.devDependencies).filter(installed), []);
}
