// Network and decoding in a worker, PCM straight to the audio thread.

import assert from 'node:assert/strict';
import { join } from 'node:path';
import { cut, extent, silentMs } from '../lib/analysis.mjs';
import { file, published } from '../lib/fixtures.mjs';
import { sleep } from '../lib/process.mjs';
import { signal } from '../lib/reference.mjs';
import seamless from './10-seamless.mjs';
import playing from './20-playing.mjs';

const ISOLATED = '/bench/bench.html?isolated&output=worklet';
/** Not cross-origin isolated: no shared memory. */
const PORT = '/bench/bench.html?output=worklet';

/**
 * A case of the other files with the worklet as its output. Each of its players has three threads, and a message for
 * each piece: in Firefox single bytes come hardly faster than they are played.
 */
function again(cases, text, address, browsers) {
  const one = cases.find(({ name }) => name.includes(text));
  const way = address === PORT ? 'worklet through a port' : 'worklet';
  return { ...one, name: one.name.replace(':', ` (${way}):`), browsers, run: (tools) => one.run({ ...tools, atOnce: 2, smallest: tools.browserName === 'firefox' ? 8 : 1, page: (_, options) => tools.page(address, options) }) };
}

/** A page in which a source is played at 200 ms while the main thread stands still again and again. */
async function blocked(tools, address, source, name) {
  const page = await tools.page(address);
  await page.run(async ({ name, source }) => {
    const listening = bench.listening[name] = await bench.Listening.start({ rate: 48000, options: { mode: 'complete', latency: 0.2 } });
    if (source.append) await bench.appendAll(listening.player, await bench.load(source.append), 14, 8192);
    else listening.player.src = source.src;
    await listening.play();
  }, { name, source });
  return async () => {
    const result = await page.run(async (name) => {
      const listening = bench.listening[name];
      for (const ms of [500, 2000, 5000]) {
        bench.block(ms);
        await bench.sleep(300);
      }
      await listening.wait('ended', 60_000);
      return listening.finish(name);
    }, name);
    return { ...result, recorded: tools.site.take(name) };
  };
}

export default [
  {
    // Firefox carries a worker's sockets over the main thread, but not what it fetches.
    name: 'worklet: a main thread blocked for 0.5, 2 and 5 s is inaudible at 200 ms latency',
    browsers: ['chromium', 'firefox'],
    relay: true,
    limit: 90_000,
    async run(tools) {
      const relay = await tools.relay();
      const copy = join(tools.folder, `${tools.browserName}-busy-${Date.now()}.opus`);
      const program = relay.publish('/noise.opus', signal('noise', 20), 'opus', copy);
      await relay.mounted('/noise.opus');
      await sleep(1500);
      const pages = [];
      for (const [name, address] of Object.entries({ memory: ISOLATED, port: PORT })) {
        pages.push([name, await blocked(tools, address, { src: tools.browserName === 'firefox' ? relay.url('/noise.opus') : relay.ws('/noise.opus') }, name)]);
      }
      const results = await Promise.all(pages.map(async ([name, finish]) => [name, await finish()]));
      await program.succeeded();
      const reference = published(copy)(48000);
      for (const [name, { stats, recorded, log }] of results) {
        assert.deepEqual([stats.output, stats.thread], ['worklet', 'worker'], name);
        assert.equal(silentMs(recorded, 1), 0, `${name}: silence; ${JSON.stringify(log)}`);
        assert.equal(stats.underrunEvents, 0, `${name}: ${JSON.stringify(stats)}`);
        // A decoder that joins mid-stream converges over some hundred ms.
        tools.seamless(reference, cut(recorded, extent(recorded.channels[1]).first + 19200), { whole: false, limit: 1e-3 }, name);
      }
    },
  },
  {
    // WebKit carries all of a worker's network over the main thread, Firefox its sockets: only what has arrived can be played meanwhile.
    name: 'worklet: a main thread blocked for 0.5, 2 and 5 s is inaudible once media is there',
    browsers: ['firefox', 'webkit'],
    async run(tools) {
      const media = file(tools, 'noise', 'opus', { seconds: 9.5 });
      const { stats, recorded, log } = await (await blocked(tools, ISOLATED, { append: media.url }, 'busy'))();
      assert.deepEqual([stats.output, stats.thread], ['worklet', 'worker']);
      assert.equal(silentMs(recorded, 1), 0, `silence; ${JSON.stringify(log)}`);
      tools.seamless(media.reference(48000), recorded, { limit: 2e-4 });
    },
  },
  // A few of each; SEAMCAST_OUTPUT=worklet runs the whole suite so.
  again(seamless, 'append() in random pieces', PORT, ['chromium']),
  again(seamless, 'append() in random pieces', ISOLATED, ['firefox', 'webkit']),
  again(seamless, 'carry the same frames', ISOLATED, ['chromium']),
  again(playing, 'pause and play lose nothing', ISOLATED, ['chromium', 'webkit']),
  again(playing, 'a network stall shorter', ISOLATED, ['chromium']),
  again(playing, 'a broken connection is resumed', ISOLATED, ['firefox']),
  again(playing, 'a suspended context', ISOLATED, ['chromium', 'firefox', 'webkit']),
  again(playing, 'flush silences at once', PORT, ['chromium', 'firefox']),
];
