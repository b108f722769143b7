#!/usr/bin/env node
/**
 * Builds the npm package's files and the page into `dist/`. Expects the wasm
 * modules in `dist/player/` (`cargo xtask wasm` puts them there).
 */
import { build } from 'esbuild';
import { cpSync, existsSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { brotliCompressSync, constants, gzipSync } from 'node:zlib';
import { minify } from 'terser';
import { INTERNAL } from './names.mjs';

const here = dirname(fileURLToPath(import.meta.url));
const dist = join(here, 'dist');
const player = join(dist, 'player');

for (const name of ['dist/player/player.wasm', 'dist/player/player-nosimd.wasm']) {
  if (!existsSync(join(here, name))) {
    console.error(`${name} is missing: run cargo xtask wasm, which builds it first`);
    process.exit(1);
  }
}
// What an earlier build called otherwise is not to be packed.
for (const name of readdirSync(player)) if (!name.endsWith('.wasm')) rmSync(join(player, name));

const common = /** @type {const} */ ({
  bundle: true, minify: true, format: 'esm', target: 'es2022', absWorkingDir: here, logLevel: 'warning', charset: 'utf8', legalComments: 'none',
});

/** What lies in another file of the package is imported from there. @type {import('esbuild').Plugin} */
const apart = {
  name: 'apart',
  setup: (b) => b.onResolve({ filter: /^\.\/(index|worker)\.js$/ }, ({ path }) => ({ path, external: true })),
};

/**
 * After esbuild another 2 to 3 % in brotli, of which a part would be taken back by sequences (`a(),b()` for `a();b()`), constants moved
 * to the left, and values moved to where they are used. Arrows and methods are unsafe only for functions that somebody takes for classes.
 * @param {string} name @param {string} text
 */
async function write(name, text) {
  const compress = { passes: 2, sequences: false, if_return: false, lhs_constants: false, collapse_vars: false, unsafe_arrows: true, unsafe_methods: true, hoist_funs: true };
  const { code = '' } = await minify(text, { module: true, ecma: 2020, compress });
  writeFileSync(join(player, `${name}.js`), code);
}

/** @param {string} name */
async function bundle(name) {
  const { outputFiles: [{ text }] } = await build({
    ...common, entryPoints: [`src/${name}.js`], write: false, plugins: [apart], mangleProps: new RegExp(`^(${INTERNAL.join('|')})$`),
  });
  await write(name, text);
}
await bundle('worker');
// By itself: esbuild would write its `export … from` as an import and an export.
await write('index', readFileSync(join(here, 'src/index.js'), 'utf8'));
await bundle('element');
// These alone: the decoder for those who only decode, the worklet since not every bundler follows its imports.
await bundle('decoder');
await bundle('worklet');
await bundle('media-session');
for (const name of ['index.d.ts', 'decoder.d.ts', 'element.d.ts', 'media-session.d.ts']) cpSync(join(here, 'src', name), join(player, name));
for (const name of ['LICENSE-MIT', 'LICENSE-APACHE', 'THIRD-PARTY.md']) cpSync(join(here, '..', name), join(player, name));

// The page loads the very files that the package ships.
await build({
  ...common, entryPoints: ['page/page.js'], outfile: join(dist, 'page.js'),
  plugins: [{
    name: 'player',
    setup: (b) => b.onResolve({ filter: /^\.\.\/src\/index\.js$/ }, () => ({ path: './player/index.js', external: true })),
  }],
});
await build({ ...common, entryPoints: ['page/page.css'], outfile: join(dist, 'page.css') });
await build({ ...common, entryPoints: ['page/studio.js'], outfile: join(dist, 'studio.js') });
await build({ ...common, entryPoints: ['page/capture-worklet.js'], outfile: join(dist, 'capture-worklet.js') });
for (const name of ['index.html', 'studio.html', 'icon.svg']) cpSync(join(here, 'page', name), join(dist, name));

// What the relay sends to whom accepts it; npm leaves them out.
const most = { params: { [constants.BROTLI_PARAM_QUALITY]: constants.BROTLI_MAX_QUALITY } };
for (const folder of [dist, player]) {
  for (const name of readdirSync(folder).filter((name) => /\.(js|css|html|svg|wasm)$/.test(name))) {
    const bytes = readFileSync(join(folder, name));
    writeFileSync(join(folder, `${name}.br`), brotliCompressSync(bytes, most));
    writeFileSync(join(folder, `${name}.gz`), gzipSync(bytes, { level: 9 }));
  }
}
