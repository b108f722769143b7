// Projects of users: the tools' current versions, no plugin, no setting for the package.

import assert from 'node:assert/strict';
import { copyFileSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { Program, freePort } from '../../browser/lib/process.mjs';
import { Host } from '../lib/host.mjs';
import { project } from '../lib/project.mjs';
import { visit } from '../lib/visit.mjs';
import { inNode } from './20-node.mjs';

/** A fixture's copy with the package installed and `check.js` in its `sources`. */
async function copy(tools, name, sources = '.') {
  const folder = await project(join(tools.here, name), tools.work, tools.tarball);
  copyFileSync(join(tools.here, 'pages/check.js'), join(folder, sources, 'check.js'));
  return folder;
}

/** The README's React recipe, its types taken off: the fixture is a project without TypeScript. */
function reactRecipe({ root, plain }) {
  const readme = readFileSync(join(plain, 'node_modules/seamcast/README.md'), 'utf8');
  const { transformSync } = createRequire(join(root, 'web/package.json'))('esbuild');
  return transformSync(/```tsx recipe=react\n([^]*?)```/.exec(readme)[1], { loader: 'tsx', jsx: 'preserve' }).code;
}

/** webpack thinks 244 KiB much for any one file; the module is loaded beside the page, as audio begins. */
const SIZE_HINTS = /^WARNING in (asset size limit|webpack performance recommendations):[^]*?\n\n|compiled with \d+ warnings?/gm;

/** Runs one of the project's tools to its end; it must not warn. */
async function build(folder, program, args = []) {
  const tool = new Program(join(folder, 'node_modules/.bin', program), args, { cwd: folder, env: { CI: '1', NO_COLOR: '1', NEXT_TELEMETRY_DISABLED: '1' } });
  await tool.succeeded(240_000);
  assert.doesNotMatch(tool.output.replace(SIZE_HINTS, ''), /\bwarn(ing)?\b/i, tool.output);
}

/** Starts one of the project's servers on a free port and returns its origin. */
async function serve(tools, folder, program, args) {
  const port = await freePort();
  const server = new Program(join(folder, 'node_modules/.bin', program), [...args, '--port', port], { cwd: folder, env: { CI: '1', NO_COLOR: '1', NEXT_TELEMETRY_DISABLED: '1' } });
  tools.finally(() => server.stop());
  await server.said(/http:\/\/(127\.0\.0\.1|localhost):\d+/, 60_000);
  return { origin: `http://127.0.0.1:${port}`, server };
}

const look = async (tools, address, more) => {
  const url = new URL(address);
  url.searchParams.set('stream', tools.streamUrl);
  return visit(tools, url.href, { expected: inNode(tools), ...more });
};

async function folderServed(tools, prefix, folder, headers) {
  const host = (await new Host(headers).start()).folder(prefix, folder);
  tools.finally(() => host.stop());
  return host;
}

const slow = { slow: true, limit: 300_000 };

export default [
  {
    ...slow, name: 'Vite: the development server',
    async run(tools) {
      const folder = await copy(tools, 'vite');
      const { origin, server } = await serve(tools, folder, 'vite', ['--host', '127.0.0.1', '--strictPort']);
      await look(tools, `${origin}/`);
      assert.doesNotMatch(server.output, /\b(warn|error)/i, server.output);
    },
  },
  {
    ...slow, name: 'Vite: a build, at the root of a site with a strict policy',
    async run(tools) {
      const folder = await copy(tools, 'vite');
      await build(folder, 'vite', ['build']);
      const policy = `default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self' 'unsafe-inline'; connect-src 'self' ${tools.media.origin}`;
      const host = await folderServed(tools, '/', join(folder, 'dist'), { 'content-security-policy': policy });
      await look(tools, `${host.origin}/`);
    },
  },
  {
    ...slow, name: 'Vite: a build below a path',
    async run(tools) {
      const folder = await copy(tools, 'vite');
      await build(folder, 'vite', ['build', '--base=/some/prefix/']);
      const host = await folderServed(tools, '/some/prefix/', join(folder, 'dist'));
      const { fetched } = await look(tools, `${host.origin}/some/prefix/`);
      assert.ok(fetched.every((line) => line.includes('/some/prefix/') || line.includes(tools.media.origin) || line.includes('favicon')), fetched.join('\n'));
    },
  },
  {
    ...slow, name: 'Vite: a build whose assets come from another origin',
    async run(tools) {
      const folder = await copy(tools, 'vite');
      const cdn = await folderServed(tools, '/some/prefix/', join(folder, 'dist'));
      await build(folder, 'vite', ['build', `--base=${cdn.origin}/some/prefix/`]);
      const host = await folderServed(tools, '/', join(folder, 'dist'));
      const { fetched } = await look(tools, `${host.origin}/`, { worker: false });
      assert.ok(fetched.some((line) => line.startsWith(`200 ${cdn.origin}/some/prefix/assets/player`)), fetched.join('\n'));
    },
  },
  {
    ...slow, name: 'webpack 5: a build at the root, below a path, and from another origin',
    async run(tools) {
      const folder = await copy(tools, 'webpack', 'src');
      await build(folder, 'webpack');
      const dist = join(folder, 'dist');
      const [script] = readdirSync(dist).filter((name) => /^main\..*\.js$/.test(name));
      assert.ok(readdirSync(dist).filter((name) => name.endsWith('.wasm')).length === 2, 'both modules are copied');
      const html = (base) => `<!doctype html><html lang="en"><meta charset="utf-8"><title>webpack</title><script type="module" crossorigin src="${base}${script}"></script></html>`;
      const policy = `default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; connect-src 'self' ${tools.media.origin}`;
      const rooted = await folderServed(tools, '/', dist, { 'content-security-policy': policy });
      await look(tools, `${rooted.text('/', html('/')).origin}/`);
      const below = await folderServed(tools, '/some/prefix/', dist);
      await look(tools, `${below.text('/', html('/some/prefix/')).origin}/`);
      const host = await new Host().start();
      tools.finally(() => host.stop());
      await look(tools, `${host.text('/', html(`${below.origin}/some/prefix/`)).origin}/`, { worker: false });
    },
  },
  ...[[], ['--webpack']].map((more) => ({
    ...slow, name: `Next.js${more.length > 0 ? ' with webpack' : ''}: rendered on the server, played in the browser`,
    async run(tools) {
      const folder = await copy(tools, 'next', 'app');
      writeFileSync(join(folder, 'app/radio.jsx'), reactRecipe(tools));
      await build(folder, 'next', ['build', ...more]);
      const { origin, server } = await serve(tools, folder, 'next', ['start', '--hostname', '127.0.0.1']);
      const html = await (await fetch(`${origin}/`)).text();
      assert.match(html, /mp3: (<!-- -->)?probably(<!-- -->)?, here: (<!-- -->)?false/);
      assert.match(html, /volume (<!-- -->)?1/);
      await look(tools, `${origin}/`, { more: async (page) => {
        // The README's component, clicked: it says what the player does.
        await page.click('button');
        await page.waitForFunction(() => globalThis.states?.includes('playing') && globalThis.states.at(-1).startsWith('paused'), undefined, { timeout: 30_000 });
      } });
      assert.doesNotMatch(server.output, /\b(warn|error)/i, server.output);
    },
  })),
];
