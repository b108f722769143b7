#!/usr/bin/env node
/**
 * Builds the npm package's files and the page into `dist/`. Expects the wasm
 * modules and their glue in `dist/player/` (`cargo xtask web` puts them there).
 */
import { build } from 'esbuild';
import { cpSync, existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));
const dist = join(here, 'dist');
const player = join(dist, 'player');

for (const name of ['glue.js', 'player.wasm', 'player-nosimd.wasm']) {
  if (!existsSync(join(player, name))) {
    console.error(`dist/player/${name} is missing: run cargo xtask web, which builds it first`);
    process.exit(1);
  }
}
const common = /** @type {const} */ ({
  bundle: true, minify: true, format: 'esm', target: 'es2022', absWorkingDir: here, logLevel: 'warning', charset: 'utf8', legalComments: 'none',
});

/**
 * wasm-bindgen's fallback address would make bundlers look for a file that is not there, its classes would all be kept,
 * and no `Engine` is ever left to the garbage collector.
 */
const glue = {
  name: 'glue',
  /** @param {import('esbuild').PluginBuild} b */
  setup(b) {
    b.onLoad({ filter: /[\\/]glue\.js$/ }, ({ path }) => ({
      contents: readFileSync(path, 'utf8')
        .replace(/new URL\('glue[^']*', import\.meta\.url\)/g, 'undefined')
        .replace(/^if \(Symbol\.dispose\).*$/gm, '')
        .replaceAll(': new FinalizationRegistry', ': /* @__PURE__ */ new FinalizationRegistry')
        .replace(/^ *EngineFinalization\..*$/gm, '')
        .replace(/if \(Object\.getPrototypeOf\(module\)[\s\S]*?else \{[\s\S]*?\n {8}\}/, '({module} = module);'),
      loader: 'js',
    }));
  },
};

/** What lies in another file of the package is imported from there. @param {RegExp} filter @param {string} path */
const from = (filter, path) => ({
  name: path,
  /** @param {import('esbuild').PluginBuild} b */
  setup: (b) => b.onResolve({ filter }, () => ({ path, external: true })),
});
const library = from(/\/(clock|core|errors|memory|reconnect|wasm)\.js$/, './worker.js');

/** @param {string} name @param {import('esbuild').Plugin[]} plugins */
const bundle = (name, ...plugins) => build({ ...common, entryPoints: [`src/${name}.js`], outdir: player, plugins });
await bundle('worker', glue);
await bundle('index', library);
await bundle('element', from(/\/player\.js$/, './index.js'), library);
// These alone: the decoder for those who only decode, the worklet since not every bundler follows its imports.
await bundle('decoder', glue);
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
