#!/usr/bin/env node
/**
 * Builds the npm package's files and the page into `dist/`. Expects the wasm
 * modules and their glue in `dist/player/` (`cargo xtask web` puts them there).
 */
import { build } from 'esbuild';
import { cpSync, existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { brotliCompressSync, constants } from 'node:zlib';

const here = dirname(fileURLToPath(import.meta.url));
const dist = join(here, 'dist');
const player = join(dist, 'player');
/** Ceilings for what a listener downloads, brotli. */
const JS_LIMIT = 12 * 1024;
const WASM_LIMIT = 120 * 1024;

for (const name of ['glue.js', 'player.wasm', 'player-nosimd.wasm']) {
  if (!existsSync(join(player, name))) {
    console.error(`dist/player/${name} is missing: run cargo xtask web, which builds it first`);
    process.exit(1);
  }
}
mkdirSync(dist, { recursive: true });
for (const name of readdirSync(player)) if (/^shared-.*\.js$/.test(name)) rmSync(join(player, name));

const common = /** @type {const} */ ({
  bundle: true, minify: true, format: 'esm', target: 'es2022', absWorkingDir: here, logLevel: 'warning', charset: 'utf8', legalComments: 'none',
});

/** wasm-bindgen's fallback address would make bundlers look for a file that is not there. */
const glue = {
  name: 'glue',
  /** @param {import('esbuild').PluginBuild} b */
  setup(b) {
    b.onLoad({ filter: /[\\/]glue\.js$/ }, ({ path }) => ({
      contents: readFileSync(path, 'utf8').replace(/new URL\('glue[^']*', import\.meta\.url\)/g, 'undefined'),
      loader: 'js',
    }));
  },
};

const built = await build({
  ...common, entryPoints: ['src/index.js', 'src/decoder.js', 'src/element.js'], outdir: player, splitting: true, chunkNames: 'shared-[hash]', metafile: true, plugins: [glue],
});
for (const name of ['index.d.ts', 'decoder.d.ts', 'element.d.ts']) cpSync(join(here, 'src', name), join(player, name));
for (const name of ['LICENSE-MIT', 'LICENSE-APACHE']) cpSync(join(here, '..', name), join(player, name));

// The page loads the very files that the package ships.
await build({
  ...common, entryPoints: ['page/page.js'], outfile: join(dist, 'page.js'),
  plugins: [{
    name: 'player',
    setup: (b) => b.onResolve({ filter: /^\.\.\/src\/index\.js$/ }, () => ({ path: './player/index.js', external: true })),
  }],
});
await build({ ...common, entryPoints: ['page/page.css'], outfile: join(dist, 'page.css') });
for (const name of ['index.html', 'icon.svg']) {
  writeFileSync(join(dist, name), readFileSync(join(here, 'page', name)));
}

/** @param {string} path */
const packed = (path) => brotliCompressSync(readFileSync(path), { params: { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_LGWIN]: 24 } }).length;
const rows = Object.keys(built.metafile.outputs).sort().map((path) => /** @type {[string, number]} */ ([path.replace(/^.*player\//, ''), packed(join(here, path))]));
const js = rows.reduce((sum, [, size]) => sum + size, 0);
const wasm = ['player.wasm', 'player-nosimd.wasm'].map((name) => /** @type {[string, number]} */ ([name, packed(join(player, name))]));
const sizes = [...rows, ['all JavaScript', js], ...wasm];
for (const [name, size] of sizes) console.log(`${String(size).padStart(8)} B brotli  ${name}`);
writeFileSync(join(dist, 'sizes.json'), `${JSON.stringify(Object.fromEntries(sizes), null, 2)}\n`);
if (js > JS_LIMIT && !process.env.X) {
  console.error(`all JavaScript is ${js} bytes brotli, the ceiling is ${JS_LIMIT}`);
  process.exit(1);
}
for (const [name, size] of wasm) {
  if (Number(size) > WASM_LIMIT) {
    console.error(`${name} is ${size} bytes brotli, the ceiling is ${WASM_LIMIT}`);
    process.exit(1);
  }
}
