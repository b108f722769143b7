/** Every piece of code in the README compiles against the package's own types. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';

const web = join(import.meta.dirname, '..');
/** In `dist`, where `seamcast` is this package and its tools are found. */
const folder = join(web, 'dist/recipes');

/** What the shorter pieces take from their surroundings. */
const SURROUNDINGS = `
declare const player: import('seamcast').Player;
declare const bytes: Uint8Array;
`;

/** `{name, language, code}` of each fenced block. */
function blocks(text) {
  return [...text.matchAll(/^```(\w+)(?: recipe=([\w-]+))?\n([^]*?)^```$/gm)]
    .map(([, language, name, code], n) => ({ language, name: name ?? `piece-${n}`, code }));
}

/** The scripts of a page; the addresses of a relay's files are the package's entries. */
const scripts = (html) => [...html.matchAll(/<script type="module">([^]*?)<\/script>/g)].map(([, code]) => code)
  .join('\n').replace(/'https?:\/\/[^']*\/player\/index\.js'/g, "'seamcast'");

test('each recipe of the README compiles', () => {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  const found = blocks(readFileSync(join(web, 'README.md'), 'utf8'));
  const compiled = [];
  for (const { language, name, code } of found) {
    const text = language === 'html' ? scripts(code) : code;
    const extension = { js: 'js', html: 'js', tsx: 'tsx' }[language];
    if (!extension || !text.trim()) continue;
    writeFileSync(join(folder, `${name}.${extension}`), `${text}\nexport {};\n`);
    compiled.push(name);
  }
  for (const name of ['radio', 'voice-agent', 'react', 'analyser']) assert.ok(compiled.includes(name), `the README has no recipe ${name}`);
  assert.ok(compiled.length >= 7, compiled.join());
  writeFileSync(join(folder, 'surroundings.d.ts'), SURROUNDINGS);
  const options = {
    target: 'ES2022', module: 'NodeNext', moduleResolution: 'NodeNext', lib: ['ES2023', 'DOM', 'DOM.Iterable'], types: [], jsx: 'react-jsx',
    allowJs: true, checkJs: true, noEmit: true,
  };
  // What a page's own markup holds is not known here, so JavaScript is let off null; TypeScript is not.
  for (const [name, include, strict] of [['js', '*.js', { noImplicitAny: false, strictNullChecks: false }], ['ts', '*.tsx', { strict: true }]]) {
    const config = join(folder, `tsconfig.${name}.json`);
    writeFileSync(config, JSON.stringify({ compilerOptions: { ...options, ...strict }, include: [include, 'surroundings.d.ts'] }));
    const { status, stdout, stderr } = spawnSync(process.execPath, [join(web, 'node_modules/typescript/bin/tsc'), '-p', config], { encoding: 'utf8' });
    assert.equal(status, 0, `${stdout}${stderr}`);
  }
});

test('a recipe that uses what is not there does not compile', () => {
  const config = join(folder, 'tsconfig.wrong.json');
  writeFileSync(join(folder, 'wrong.js'), "import { Player } from 'seamcast';\nnew Player().addEventListener('metadata', ({ tag }) => tag);\nnew Player().pausePlease();\n");
  writeFileSync(config, JSON.stringify({ compilerOptions: { target: 'ES2022', module: 'NodeNext', allowJs: true, checkJs: true, noEmit: true, types: [] }, include: ['wrong.js'] }));
  const { status, stdout } = spawnSync(process.execPath, [join(web, 'node_modules/typescript/bin/tsc'), '-p', config], { encoding: 'utf8' });
  assert.notEqual(status, 0);
  assert.match(stdout, /'tag' does not exist[^]*'pausePlease' does not exist/);
});
