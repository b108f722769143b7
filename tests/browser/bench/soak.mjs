// Half an hour of playing in a fraction of it: the whole way from bytes to
// blocks, with the clock turned by hand, and what it leaves in memory.

import { readFileSync } from 'node:fs';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { join } from 'node:path';
import { encode, signal } from '../lib/reference.mjs';
import { pages } from './mounts.mjs';

const RATE = 48000;
/** Length of one link of the chain that is played, seconds. */
const LINK = 60;
/** Minutes that are not counted: caches and code are still being made. */
const WARM = 5;

/** Growth per hour by least squares over `[minute, bytes]`. */
function perHour(samples) {
  const mean = (f) => samples.reduce((sum, one) => sum + f(one), 0) / samples.length;
  const [x, y] = [mean(([t]) => t), mean(([, bytes]) => bytes)];
  return 60 * mean(([t, bytes]) => (t - x) * (bytes - y)) / mean(([t]) => (t - x) ** 2);
}

export async function soak(dist, folder, minutes, table) {
  setFlagsFromString('--expose-gc');
  const gc = runInNewContext('gc');
  const realNow = performance.now.bind(performance);
  const link = [...pages(readFileSync(encode(folder, 'soak', signal('noise', LINK), 'opus')))].map(({ page }) => page);
  // The bundle keeps its core to itself, so it is the core as written, with the module that is shipped.
  const { Core } = await import('../../../web/src/core.js');
  const { start } = await import('../../../web/src/wasm.js');

  let memory;
  const { Instance } = WebAssembly;
  WebAssembly.Instance = class extends Instance {
    constructor(module, imports) {
      super(module, imports);
      memory = this.exports.memory;
    }
  };
  start(new WebAssembly.Module(readFileSync(join(dist, 'player/player.wasm'))));
  WebAssembly.Instance = Instance;

  let t = 0;
  performance.now = () => t;
  const { setInterval } = globalThis;
  let pump;
  globalThis.setInterval = (f) => { pump = f; };
  const told = {};
  const core = new Core({ source: null, mode: 'complete', latency: [0, Infinity], stretch: 0 }, (type, detail) => {
    told[type] = (told[type] ?? 0) + 1;
    if (type === 'fail') throw detail.error;
  });
  while (!pump) await new Promise((done) => setTimeout(done, 10));
  globalThis.setInterval = setInterval;
  let heard = 0;
  core.attach({
    rate: RATE, channels: 2, lead: 0.05, horizon: 3, shift: 0, starved: 0, running: true,
    get frame() { return Math.round(t * RATE / 1000); },
    schedule(engine) { for (let block; (block = engine.nextBlock(this.frame));) heard += block[1].length; },
    cancel() {}, finish() {},
  });
  core.play();
  const begun = realNow();
  const samples = [];
  let next = 0;
  let state = 1;
  const random = () => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) / 2 ** 32;
  let late = 0;
  for (let minute = 0; minute <= minutes; minute++) {
    for (const end = minute * 60_000; t < end; t += 20) {
      // A network that falters: pages wait for up to half a second now and then, and come together.
      if (random() < 0.002) late = t + 500 * random();
      if (t >= late) for (; next * 100 <= t; next++) core.append(link[next % link.length].slice());
      if (t % 40 === 0) pump();
    }
    gc();
    samples.push([minute, process.memoryUsage().heapUsed, memory.buffer.byteLength]);
    // Lets what is due by real timers happen.
    await new Promise((done) => setTimeout(done, 1));
  }
  delete performance.now;
  const { stats } = core.state();
  core.close();
  const counted = samples.filter(([minute]) => minute >= Math.min(WARM, minutes / 2));
  const result = {
    minutes, realSeconds: (realNow() - begun) / 1000, heardSeconds: heard / RATE, underruns: stats.underrunEvents, told,
    heapPerHour: perHour(counted.map(([at, heap]) => [at, heap])), wasmPerHour: perHour(counted.map(([at, , wasm]) => [at, wasm])), samples,
  };
  const [first, last] = [counted[0], counted.at(-1)];
  table([`${minutes} minutes in ${result.realSeconds.toFixed(0)} s`, `after ${first[0]} min, KiB`, `after ${last[0]} min, KiB`, 'growth per hour, KiB'], [
    ['JavaScript heap', (first[1] / 1024).toFixed(0), (last[1] / 1024).toFixed(0), (result.heapPerHour / 1024).toFixed(0)],
    ['wasm memory', (first[2] / 1024).toFixed(0), (last[2] / 1024).toFixed(0), (result.wasmPerHour / 1024).toFixed(0)],
  ]);
  return result;
}
