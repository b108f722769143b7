import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { INTERNAL } from '../names.mjs';

const web = join(import.meta.dirname, '..');
const all = (folder, pattern) => readdirSync(folder).filter((name) => pattern.test(name)).map((name) => readFileSync(join(folder, name), 'utf8')).join('\n');

/** TypeScript's declarations of JavaScript and the platform, which lie in the package for this machine. */
function platform() {
  const scope = join(web, 'node_modules/@typescript');
  return readdirSync(scope).map((name) => all(join(scope, name, 'lib'), /^lib\..*\.d\.ts$/)).join('\n');
}

test('what the build shortens is nobody else’s name', () => {
  const code = all(join(web, 'src'), /\.js$/);
  const taken = `${platform()}\n${all(join(web, 'src'), /\.d\.ts$/)}`;
  assert.match(taken, /^ +readonly currentTime:/m, 'the declarations are found');
  for (const name of INTERNAL) {
    assert.match(code, new RegExp(`\\b${name}\\b`), `${name} is not used`);
    assert.doesNotMatch(taken, new RegExp(`^ *(?:static |readonly |get |set )*${name}\\??[(:<]`, 'm'), `${name} is declared elsewhere`);
    assert.doesNotMatch(code, new RegExp(`['"]${name}['"]`), `${name} stands in a string`);
  }
});
