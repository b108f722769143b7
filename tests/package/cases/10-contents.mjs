// What is in the tarball, and what it weighs.

import assert from 'node:assert/strict';
import { existsSync, readFileSync, readdirSync, statSync } from 'node:fs';
import { join, posix, relative } from 'node:path';
import { output } from '../../browser/lib/process.mjs';

/** Everything a release may hold. */
const ALLOWED = /^(package\.json|README\.md|LICENSE(-\w+)?|dist\/player\/([\w-]+\.(js|d\.ts|wasm)|LICENSE-(MIT|APACHE)|THIRD-PARTY\.md))$/;
/** What users are promised. */
const PROMISED = ['package.json', 'README.md', 'dist/player/LICENSE-MIT', 'dist/player/LICENSE-APACHE', 'dist/player/THIRD-PARTY.md',
  'dist/player/player.wasm', 'dist/player/player-nosimd.wasm', ...['index', 'decoder', 'element', 'media-session'].flatMap((name) => [`dist/player/${name}.js`, `dist/player/${name}.d.ts`])];

const kib = (bytes) => `${(bytes / 1024).toFixed(1).padStart(8)} KiB`;

export default [
  {
    name: 'the tarball holds the built files, types, README and licences, and nothing else',
    async run({ tarball, plain, note }) {
      const names = output('tar', ['tzf', tarball]).toString().trim().split('\n').map((name) => name.replace(/^package\//, '')).sort();
      assert.deepEqual(names.filter((name) => !ALLOWED.test(name)), [], 'files that do not belong');
      assert.deepEqual(PROMISED.filter((name) => !names.includes(name)), [], 'files that are missing');
      const installed = join(plain, 'node_modules/seamcast');
      const there = readdirSync(installed, { recursive: true, withFileTypes: true })
        .filter((entry) => entry.isFile()).map((entry) => relative(installed, join(entry.parentPath, entry.name))).sort();
      assert.deepEqual(there, names, 'the installed files are the packed ones');
      const sizes = names.map((name) => [name, statSync(join(installed, name)).size]);
      const unpacked = sizes.reduce((sum, [, size]) => sum + size, 0);
      note([...sizes.map(([name, size]) => `${kib(size)}  ${name}`), `${kib(unpacked)}  unpacked, ${kib(statSync(tarball).size).trim()} as a tarball`].join('\n'));
    },
  },
  {
    name: 'package.json: types first, every export and side effect names a file, every entry has one',
    async run({ plain }) {
      const installed = join(plain, 'node_modules/seamcast');
      const manifest = JSON.parse(readFileSync(join(installed, 'package.json'), 'utf8'));
      const targets = Object.values(manifest.exports).flatMap((to) => (typeof to === 'string' ? [to] : Object.values(to)));
      for (const target of [...targets, ...manifest.sideEffects, manifest.types]) assert.ok(existsSync(join(installed, target)), `${target} is not in the package`);
      for (const [entry, to] of Object.entries(manifest.exports)) {
        if (typeof to === 'object') assert.equal(Object.keys(to)[0], 'types', `${entry}: "types" comes first`);
      }
      for (const name of readdirSync(join(installed, 'dist/player'))) {
        if (/\.(wasm|d\.ts)$/.test(name)) assert.ok(targets.includes(`./dist/player/${name}`), `${name} can be reached by no export`);
      }
      assert.equal(manifest.type, 'module');
      assert.deepEqual(manifest.dependencies ?? {}, {});
      for (const script of ['preinstall', 'install', 'postinstall', 'prepare']) assert.equal(manifest.scripts?.[script], undefined, `${script} runs at users'`);
    },
  },
  {
    name: 'the shipped code evaluates no text and every module it names is in the package',
    async run({ plain }) {
      const folder = join(plain, 'node_modules/seamcast/dist/player');
      for (const name of readdirSync(folder).filter((file) => file.endsWith('.js'))) {
        const code = readFileSync(join(folder, name), 'utf8');
        assert.doesNotMatch(code, /\beval\s*\(|\bnew\s+Function\b|(?<![\w.$])Function\s*\(|\bimportScripts\s*\(|sourceMappingURL/, name);
        const named = [...code.matchAll(/(?:from|import)\s*["']([\w./@-]+)["']/g), ...code.matchAll(/new URL\(["']([^"']+)["'],\s*import\.meta\.url\)/g)];
        for (const [, specifier] of named) {
          assert.match(specifier, /^\.\//, `${name} names ${specifier}`);
          assert.ok(existsSync(join(folder, posix.normalize(specifier.split('?')[0]))), `${name} names ${specifier}, which is not there`);
        }
      }
    },
  },
];
