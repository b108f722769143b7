// Network and decoding in a worker, PCM straight to the audio thread.

import assert from 'node:assert/strict';
import { join } from 'node:path';
import { cut, extent, silentMs } from '../lib/analysis.mjs';
import { file, published } from '../lib/fixtures.mjs';
import { sleep } from '../lib/process.mjs';
import { signal } from '../lib/reference.mjs';
import seamless from './10-seamless.mjs';
import playing from './20-playing.mjs';

const ISOLATED = '/bench/bench.html?isolated';
/** Not cross-origin isolated: no shared memory, and in WebKit no worklet unless it is asked for. */
const PORT = '/bench/bench.html';
const BUFFERS = '/bench/bench.html?isolated&output=buffers';
const WAYS = { [ISOLATED]: 'worklet', [PORT]: 'worklet through a port', [BUFFERS]: 'buffers' };

/** A case of the other files with another output than the suite's own page has: there it is the worklet, in WebKit buffers. */
function again(cases, text, address, browsers) {
  const one = cases.find(({ name }) => name.includes(text));
  return { ...one, name: one.name.replace(':', ` (${WAYS[address]}):`), browsers, run: (tools) => one.run({ ...tools, atOnce: 2, page: (_, options) => tools.page(address, options) }) };
}

/** A page in which a source is played at 200 ms while the main thread stands still again and again. */
async function blocked(tools, address, source, name, options = { mode: 'complete' }) {
  const page = await tools.page(address);
  await page.run(async ({ name, source, options }) => {
    const listening = bench.listening[name] = await bench.Listening.start({ rate: 48000, options: { ...options, latency: 0.2 } });
    if (source.append) await bench.appendAll(listening.player, await bench.load(source.append), 14, 8192);
    else listening.player.src = source.src;
    await listening.play();
  }, { name, source, options });
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
    // Firefox carries a worker's sockets over the main thread, but not what it fetches: there the player fetches what the socket would carry.
    name: 'worklet: by default a main thread blocked for 0.5, 2 and 5 s is inaudible at 200 ms latency',
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
        pages.push([name, await blocked(tools, address, { src: relay.ws('/noise.opus') }, name)]);
      }
      const listed = await fetch(relay.url('/api/mounts/noise.opus/listeners'), { headers: { Authorization: 'Bearer token-of-the-tests' } });
      const transports = (await listed.json()).map(({ transport }) => transport);
      assert.deepEqual(transports, Array(2).fill(tools.browserName === 'firefox' ? 'seamcast.v1+http' : 'seamcast.v1'));
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
    // 200 ms is all that is held here, of which a chunk takes 100: a machine that stands still for longer is heard whatever the
    // page does, so that a little is let pass. What this thread schedules is silent for nearly all of 7.5 s.
    name: 'worklet: a live programme held for 200 ms goes on while the main thread is blocked',
    browsers: ['chromium', 'firefox'],
    relay: true,
    async run(tools) {
      const relay = await tools.relay();
      const program = relay.publish('/noise.opus', signal('noise', 20), 'opus', join(tools.folder, `${tools.browserName}-live-${Date.now()}.opus`));
      await relay.mounted('/noise.opus');
      await sleep(1500);
      const finish = await blocked(tools, PORT, { src: relay.ws('/noise.opus') }, 'live', {});
      const { stats, recorded, log } = await finish();
      await program.succeeded();
      const silence = silentMs(recorded, 1);
      tools.note(`${silence.toFixed(0)} ms of silence in ${stats.underrunEvents} underruns`);
      assert.deepEqual([stats.output, stats.thread], ['worklet', 'worker']);
      assert.ok(silence < 1000, `${silence} ms of silence; ${JSON.stringify(log)}`);
    },
  },
  {
    // WebKit carries all of a worker's network over the main thread: only what has arrived can be played meanwhile.
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
  {
    name: 'worklet: where worker or worklet cannot be had, buffers are played instead',
    async run(tools) {
      const media = file(tools, 'noise', 'opus', { seconds: 1.5 });
      // The browser itself tells of the file that is missing.
      const page = await tools.page(ISOLATED, { tolerate: /404|nowhere/ });
      for (const missing of ['workerUrl', 'workletUrl']) {
        const { stats } = await page.run(async ({ url, missing }) => {
          const listening = await bench.Listening.start({ rate: 48000, options: { mode: 'complete', output: 'auto', [missing]: '/nowhere.js' } });
          bench.appendAll(listening.player, await bench.load(url), 7, 8192);
          await listening.play();
          await listening.wait('ended');
          return listening.finish(missing);
        }, { url: media.url, missing });
        assert.deepEqual([stats.output, stats.thread], ['buffers', 'main'], missing);
        tools.seamless(media.reference(48000), tools.site.take(missing), { limit: 2e-4 }, missing);
      }
    },
  },
  // A few of each; SEAMCAST_OUTPUT runs the whole suite with one of them.
  again(seamless, 'append() in random pieces', PORT, ['chromium', 'firefox']),
  again(seamless, 'append() in random pieces', BUFFERS, ['firefox']),
  again(seamless, 'append() in random pieces', ISOLATED, ['webkit']),
  again(seamless, 'carry the same frames', BUFFERS, ['chromium']),
  again(playing, 'pause and play lose nothing', BUFFERS, ['chromium']),
  again(playing, 'pause and play lose nothing', ISOLATED, ['webkit']),
  again(playing, 'blocked for 2 s', BUFFERS, ['chromium', 'firefox']),
  again(playing, 'a network stall shorter', BUFFERS, ['chromium']),
  again(playing, 'a broken connection is resumed', BUFFERS, ['firefox']),
  again(playing, 'a suspended context', BUFFERS, ['chromium', 'firefox']),
  again(playing, 'a suspended context', ISOLATED, ['webkit']),
  again(playing, 'flush silences at once', PORT, ['chromium', 'firefox']),
  again(playing, 'flush silences at once', BUFFERS, ['chromium', 'firefox']),
];
