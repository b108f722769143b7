// The installed files in a browser without any tool: plain modules, a strict policy, a CDN.

import assert from 'node:assert/strict';
import { join } from 'node:path';
import { Host } from '../lib/host.mjs';
import { visit } from '../lib/visit.mjs';
import { inNode } from './20-node.mjs';

const page = (base) => `
import { Player } from '${base}index.js';
import { StreamDecoder } from '${base}decoder.js';
import { check } from '/pages/check.js';
check({ Player, StreamDecoder });`;

const dist = ({ plain }) => join(plain, 'node_modules/seamcast/dist/player');

/** A site with a page that imports the package from `base`. */
async function site(tools, base, headers) {
  const host = await new Host(headers).start();
  tools.finally(() => host.stop());
  return host.folder('/pages/', join(tools.here, 'pages')).text('/pages/plain.js', page(base));
}

const look = async (tools, host, more) =>
  visit(tools, `${host.origin}/pages/plain.html?stream=${encodeURIComponent(tools.streamUrl)}`, { expected: inNode(tools), ...more });

export default [
  {
    name: 'a plain <script type="module"> decodes and plays',
    async run(tools) {
      const host = (await site(tools, '/player/')).folder('/player/', dist(tools));
      await look(tools, host);
    },
  },
  {
    name: 'under script-src self and wasm-unsafe-eval, and nothing more than connect-src',
    async run(tools) {
      const policy = `default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; connect-src 'self' ${tools.media.origin}`;
      const host = (await site(tools, '/player/', { 'content-security-policy': policy })).folder('/player/', dist(tools));
      await look(tools, host);
    },
  },
  {
    name: 'in a page that is cross-origin isolated',
    async run(tools) {
      const headers = { 'cross-origin-opener-policy': 'same-origin', 'cross-origin-embedder-policy': 'require-corp' };
      const host = (await site(tools, '/player/', headers)).folder('/player/', dist(tools));
      await look(tools, host);
    },
  },
  {
    name: "below a path of the page's own site",
    async run(tools) {
      const host = (await site(tools, '/some/prefix/seamcast@0.1/')).folder('/some/prefix/seamcast@0.1/', dist(tools));
      const { fetched } = await look(tools, host);
      assert.ok(fetched.some((line) => line.includes('/some/prefix/seamcast@0.1/player.wasm')));
    },
  },
  {
    name: 'below a path of another origin (a CDN with CORS)',
    async run(tools) {
      const cdn = (await new Host().start()).folder('/some/prefix/', dist(tools));
      tools.finally(() => cdn.stop());
      const host = await site(tools, `${cdn.origin}/some/prefix/`);
      // A worker's script must be of the page's own origin.
      const { fetched } = await look(tools, host, { worker: false });
      assert.ok(fetched.includes(`200 ${cdn.origin}/some/prefix/player.wasm`), fetched.join('\n'));
      assert.ok(!fetched.some((line) => line.startsWith('404')), fetched.join('\n'));
    },
  },
  {
    name: 'with Media Session: the browser is told what plays',
    async run(tools) {
      const host = (await site(tools, '/player/')).folder('/player/', dist(tools)).text('/pages/plain.js', `
        import { Player } from '/player/index.js';
        import { announce } from '/player/media-session.js';
        const player = new Player({ mode: 'complete' });
        announce(player, { title: 'Radio' });
        const { mediaSession } = navigator;
        const told = [];
        const look = () => told.push([mediaSession.metadata?.title ?? null, mediaSession.playbackState].join());
        for (const type of ['playing', 'pause']) player.addEventListener(type, look);
        player.addEventListener('ended', async () => {
          await player.close();
          look();
          globalThis.told = told;
        });
        player.src = new URLSearchParams(location.search).get('stream');
        player.play();`);
      const page = await (await tools.browser()).page();
      tools.finally(() => page.close());
      await page.goto(`${host.origin}/pages/plain.html?stream=${encodeURIComponent(tools.streamUrl)}`);
      const told = await page.native.waitForFunction(() => globalThis.told, undefined, { timeout: 60_000 }).then((handle) => handle.jsonValue());
      assert.deepEqual(told, ['Radio,playing', 'Radio,paused', ',none']);
      assert.deepEqual(await page.errors(), []);
    },
  },
];
