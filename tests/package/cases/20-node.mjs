// The installed package in Node and on servers that render pages.

import assert from 'node:assert/strict';
import { copyFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { output } from '../../browser/lib/process.mjs';

/** Runs a module in the project; standard error must stay empty. */
function node(folder, code, ...flags) {
  writeFileSync(join(folder, 'run.mjs'), code);
  return output('sh', ['-c', 'cd "$0" && exec node "$@" run.mjs 2>&1', folder, ...flags]).toString().trim();
}

let found;

/** What the installed package makes of the stream in Node: the value pages are held to. */
export const inNode = (tools) => (found ??= decodeInNode(tools));

function decodeInNode({ plain, here, stream }) {
  copyFileSync(join(here, 'pages/check.js'), join(plain, 'check.js'));
  return JSON.parse(node(plain, `
    import { readFileSync } from 'node:fs';
    import { StreamDecoder } from 'seamcast/decoder';
    import { decodeAll } from './check.js';
    console.log(JSON.stringify(await decodeAll(StreamDecoder, new Uint8Array(readFileSync(${JSON.stringify(stream)})))));`,
  '--disallow-code-generation-from-strings'));
}

export default [
  {
    name: 'Node: StreamDecoder decodes to the reference length, without code from strings',
    async run(tools) {
      const decoded = inNode(tools);
      assert.equal(decoded.errors, 0);
      assert.equal(decoded.frames, tools.frames, 'frames that opusdec makes of it');
      assert.equal(decoded.channels, 2);
      tools.note(`${decoded.frames} frames, ${decoded.sha.slice(0, 12)}`);
    },
  },
  {
    name: 'Node: StreamDecoder in a worker thread',
    async run(tools) {
      const here = inNode(tools);
      const there = node(tools.plain, `
        import { Worker, isMainThread, parentPort } from 'node:worker_threads';
        import { readFileSync } from 'node:fs';
        if (isMainThread) new Worker(new URL(import.meta.url)).on('message', (found) => console.log(JSON.stringify(found)));
        else {
          const { StreamDecoder } = await import('seamcast/decoder');
          const { decodeAll } = await import('./check.js');
          parentPort.postMessage(await decodeAll(StreamDecoder, new Uint8Array(readFileSync(${JSON.stringify(tools.stream)}))));
        }`);
      assert.deepEqual(JSON.parse(there), here);
    },
  },
  {
    name: 'a server: importing every entry and constructing a player touches no browser global',
    async run({ plain }) {
      // Whatever a browser has and Node has not, or has as a late stand-in.
      const names = ['window', 'self', 'document', 'navigator', 'location', 'localStorage', 'sessionStorage', 'AudioContext', 'webkitAudioContext',
        'OfflineAudioContext', 'AudioWorkletNode', 'AudioWorkletProcessor', 'registerProcessor', 'Worker', 'SharedWorker', 'customElements',
        'MediaMetadata', 'MediaSource', 'requestAnimationFrame', 'Element', 'CSSStyleSheet', 'WebSocket', 'fetch', 'WebAssembly', 'setInterval'];
      assert.equal(node(plain, `
        const touched = [];
        for (const name of ${JSON.stringify(names)}) Object.defineProperty(globalThis, name, { configurable: true, get() { touched.push(name); } });
        const { Player } = await import('seamcast');
        await import('seamcast/decoder');
        await import('seamcast/media-session');
        if (touched.length > 0) console.log('at import:', touched.join());
        await import('seamcast/element');
        const player = new Player({ latency: { max: 0.2 } });
        player.src = 'wss://radio.example/live.opus';
        player.addEventListener('playing', () => {});
        console.log(player.paused, player.currentTime, touched.filter((name) => !['document', 'customElements'].includes(name)).join());`), 'true 0');
    },
  },
  {
    name: 'a server: tools that look for package.json and the wasm file find them',
    async run({ plain }) {
      const found = node(plain, `
        import { createRequire } from 'node:module';
        import manifest from 'seamcast/package.json' with { type: 'json' };
        const require = createRequire(import.meta.url);
        console.log(manifest.name, import.meta.resolve('seamcast/player.wasm'), typeof require.resolve('seamcast'));`, '--no-warnings');
      assert.equal(found, `seamcast ${pathToFileURL(join(plain, 'node_modules/seamcast/dist/player/player.wasm'))} string`);
    },
  },
];
