// What ffmpeg publishes is what leaves `player.node`: every frame of it, once.

import assert from 'node:assert/strict';
import { join } from 'node:path';
import { cut, extent, silentMs, steps } from '../lib/analysis.mjs';
import { chained, file, published } from '../lib/fixtures.mjs';
import { SINE, signal } from '../lib/reference.mjs';

const RATES = [44100, 48000, 96000];

/** Recorded at the codec's own rate nothing was resampled, so almost nothing may differ. */
const limits = (codec, rate) => ({ limit: (codec === 'opus' && rate === 48000) || (codec === 'mp3' && rate === 44100) ? 2e-4 : 1e-3 });

/** Plays `source` to its end in a page and returns the log beside the recording. */
async function listen(page, site, name, setup, source) {
  const result = await page.run(async ({ name, setup, source }) => {
    const listening = await bench.Listening.start(setup);
    const { player } = listening;
    if (source.append) {
      const bytes = await bench.load(source.append);
      bench.appendAll(player, bytes, source.seed, source.largest).catch((error) => console.error(error));
    } else if (source.plainSocket) {
      player.srcObject = new WebSocket(source.plainSocket);
    } else if (source.stream) {
      player.srcObject = (await fetch(source.stream)).body;
    } else {
      player.src = source.src;
    }
    await listening.play();
    await listening.wait('ended', 60_000);
    return listening.finish(name);
  }, { name, setup, source });
  return { ...result, recorded: site.take(name) };
}

function steady(result, what) {
  assert.equal(result.stats.underrunEvents, 0, `${what}: underruns; ${JSON.stringify(result.stats)}`);
  assert.equal(result.ended, true, what);
  // A player short of audio may play slower for a while: then nothing can be exact.
  assert.ok(result.ratios.every((ratio) => Math.abs(ratio - 1) < 1e-6), `${what}: played at ${result.ratios.join(' to ')} of its rate; ${JSON.stringify(result.stats)}`);
  assert.deepEqual(result.log.filter(({ type }) => ['error', 'decodeerror', 'skip', 'reconnecting'].includes(type)), [], what);
}

export default [
  {
    name: 'seamless: ffmpeg → relay → player, Opus and MP3, 44.1, 48 and 96 kHz',
    relay: true,
    limit: 180_000,
    async run(tools) {
      const relay = await tools.relay();
      const page = await tools.page();
      const failures = [];
      // One codec at a time, each in three contexts at once: more starve each other on a small machine.
      for (const codec of ['opus', 'mp3']) {
        const sources = ['sine', 'noise'].map((kind) => {
          const mount = `/${kind}.${codec}`;
          const copy = join(tools.folder, `${tools.browserName}-${kind}-${Date.now()}.${codec}`);
          return { kind, mount, copy, program: relay.publish(mount, signal(kind, 5, codec === 'mp3' ? 44100 : 48000), codec, copy) };
        });
        const results = await Promise.all(sources.map(async (one) => {
          await relay.mounted(one.mount);
          return Promise.all(RATES.map(async (rate) => {
            const what = `${one.kind} ${codec} at ${rate}`;
            const src = relay.ws(`${one.mount}?from=start`);
            return { rate, what, one, ...await listen(page, tools.site, what, { rate, options: { mode: 'complete', latency: 0.5 } }, { src }) };
          }));
        }));
        for (const { program } of sources) await program.succeeded();
        for (const result of results.flat()) {
          const { rate, what, one } = result;
          one.reference ??= published(one.copy);
          try {
            steady(result, what);
            tools.seamless(one.reference(rate), result.recorded, { hertz: one.kind === 'sine' ? SINE : 0, ...limits(codec, rate) }, what);
          } catch (error) {
            failures.push(error.message);
          }
        }
      }
      assert.deepEqual(failures, []);
    },
  },
  {
    name: 'seamless: with default options a live programme is heard as it is, from its burst on',
    relay: true,
    limit: 90_000,
    async run(tools) {
      const relay = await tools.relay();
      const page = await tools.page();
      const copy = join(tools.folder, `${tools.browserName}-default-${Date.now()}.opus`);
      const program = relay.publish('/noise.opus', signal('noise', 12), 'opus', copy);
      await relay.mounted('/noise.opus');
      const result = await listen(page, tools.site, 'default', { rate: 48000, options: {} }, { src: relay.ws('/noise.opus') });
      await program.succeeded();
      steady(result, 'default options');
      // Where it joins depends on how long the browser took: within the first second that is the programme's first frame.
      const reference = published(copy)(48000);
      const joinedAt = fromTheJoinOn(tools, reference, result.recorded, 'default options', { limit: 2e-4 });
      if (joinedAt < 0.001) tools.seamless(reference, result.recorded, { limit: 2e-4 }, 'default options, whole');
    },
  },
  {
    name: 'seamless: append() in random pieces',
    limit: 180_000,
    async run(tools) {
      const page = await tools.page();
      const media = file(tools, 'noise', 'opus', { seconds: 2 });
      const mp3 = file(tools, 'noise', 'mp3', { seconds: 2 });
      const cuttings = tools.browserName === 'chromium' ? 20 : 5;
      const { atOnce = 5 } = tools;
      const run = async (n) => {
        const one = n % 3 === 2 ? mp3 : media;
        const rate = one === mp3 ? 44100 : 48000;
        // Piece sizes from single bytes to the whole file.
        const source = { append: one.url, seed: 1000 + n, largest: [1, 16, 300, 4096, 1 << 20][n % 5] };
        const result = await listen(page, tools.site, `append-${n}`, { rate, options: { mode: 'complete', latency: 0.3 } }, source);
        steady(result, `cutting ${n}`);
        tools.seamless(one.reference(rate), result.recorded, { limit: 2e-4 }, `cutting ${n}`);
      };
      // A few at once: enough to save time, too few to starve each other.
      for (let n = 0; n < cuttings; n += atOnce) await Promise.all(Array.from({ length: Math.min(atOnce, cuttings - n) }, (_, k) => run(n + k)));
    },
  },
  {
    name: 'seamless: WebSocket framed and plain, fetch and a stream carry the same frames',
    relay: true,
    limit: 90_000,
    async run(tools) {
      const relay = await tools.relay();
      const page = await tools.page();
      const copy = join(tools.folder, `${tools.browserName}-transports-${Date.now()}.opus`);
      const program = relay.publish('/noise.opus', signal('noise', 4), 'opus', copy);
      await relay.mounted('/noise.opus');
      const sources = {
        framed: { src: relay.ws('/noise.opus?from=start') },
        plain: { plainSocket: relay.ws('/noise.opus?from=start&mode=complete') },
        fetch: { src: relay.url('/noise.opus?from=start') },
        stream: { stream: relay.url('/noise.opus?from=start') },
      };
      const results = await Promise.all(Object.entries(sources).map(async ([what, source]) =>
        [what, await listen(page, tools.site, what, { rate: 48000, options: { mode: 'complete', latency: 0.5 } }, source)]));
      await program.succeeded();
      const reference = published(copy)(48000);
      for (const [what, result] of results) {
        steady(result, what);
        tools.seamless(reference, result.recorded, { limit: 2e-4 }, what);
      }
    },
  },
  {
    name: 'seamless: a late listener hears the live edge without a seam',
    browsers: ['chromium', 'webkit'],
    relay: true,
    limit: 90_000,
    async run(tools) {
      const relay = await tools.relay();
      const page = await tools.page();
      const sources = ['opus', 'mp3'].map((codec) => {
        const copy = join(tools.folder, `${tools.browserName}-late-${Date.now()}.${codec}`);
        return { codec, copy, rate: codec === 'mp3' ? 44100 : 48000,
          program: relay.publish(`/noise.${codec}`, signal('noise', 8, codec === 'mp3' ? 44100 : 48000), codec, copy) };
      });
      await Promise.all(sources.map(({ codec }) => relay.mounted(`/noise.${codec}`)));
      await new Promise((done) => setTimeout(done, 3500));
      const joins = sources.flatMap((one) => [
        { one, what: `${one.codec} framed`, source: { src: relay.ws(`/noise.${one.codec}`) } },
        { one, what: `${one.codec} plain`, source: { plainSocket: relay.ws(`/noise.${one.codec}`) } },
        { one, what: `${one.codec} fetch`, source: { src: relay.url(`/noise.${one.codec}`) } },
      ]);
      const results = await Promise.all(joins.map(async (join) =>
        ({ ...join, result: await listen(page, tools.site, join.what, { rate: join.one.rate, options: { mode: 'complete', latency: 0.5 } }, join.source) })));
      for (const { program } of sources) await program.succeeded();
      for (const { one, what, result } of results) {
        one.reference ??= published(one.copy)(one.rate);
        steady(result, what);
        fromTheJoinOn(tools, one.reference, result.recorded, what, { after: 0.3 });
      }
    },
  },
  {
    name: 'seamless: chained Ogg',
    relay: true,
    limit: 90_000,
    async run(tools) {
      const relay = await tools.relay();
      const page = await tools.page();
      const links = [
        file(tools, 'noise', 'opus', { seconds: 1.3 }), file(tools, 'noise', 'opus', { seconds: 0.77, more: ['-frame_duration', '60'] }),
        file(tools, 'noise', 'opus', { seconds: 1.1, more: ['-application', 'lowdelay', '-frame_duration', '5'] }),
      ];
      const chain = chained(tools, links);
      const appended = await listen(page, tools.site, 'chain-append', { rate: 48000, options: { mode: 'complete', latency: 0.5 } }, { append: chain.url, seed: 5, largest: 5000 });
      const upload = relay.upload('/chain.opus', chain.path, { rate: '24k' });
      await relay.mounted('/chain.opus');
      const relayed = await listen(page, tools.site, 'chain-relay', { rate: 48000, options: { mode: 'complete', latency: 0.5 } }, { src: relay.ws('/chain.opus?from=start') });
      await upload.succeeded();
      for (const [what, result] of [['appended', appended], ['through the relay', relayed]]) {
        steady(result, what);
        tools.seamless(chain.reference(48000), result.recorded, { limit: 2e-4 }, what);
      }
    },
  },
  {
    name: 'seamless: a player without options',
    browsers: ['chromium', 'firefox'],
    relay: true,
    limit: 90_000,
    async run(tools) {
      const relay = await tools.relay();
      const page = await tools.page();
      const copy = join(tools.folder, `${tools.browserName}-optionless-${Date.now()}.opus`);
      const program = relay.publish('/sine.opus', signal('sine', 6), 'opus', copy);
      await relay.mounted('/sine.opus');
      const [live, complete] = await Promise.all([{}, { mode: 'complete' }].map((options, n) =>
        listen(page, tools.site, `plain-${n}`, { rate: 48000, options }, { src: relay.ws('/sine.opus?from=start') })));
      await program.succeeded();
      const reference = published(copy)(48000);
      for (const [mode, { ratios, stats }] of Object.entries({ live, complete })) {
        tools.note(`${mode}: rate ${ratios.map((ratio) => ratio.toFixed(4)).join(' to ')}, ${stats.stretchedFrames ?? 0} frames stretched, target ${stats.prebuffer.toFixed(2)} s, started after ${stats.startupDelay.toFixed(3)} s`);
      }
      steady(complete, 'complete');
      tools.seamless(reference, complete.recorded, { hertz: SINE, limit: 2e-4 }, 'complete');
      // `live` may play a little slower or faster to keep its distance, but at its own tempo unless asked, and never with a seam.
      assert.equal(live.stats.stretchedFrames ?? 0, 0);
      assert.equal(live.stats.underrunEvents, 0);
      assert.equal(silentMs(live.recorded), 0, 'live: silence');
      const [sine] = live.recorded.channels;
      const { first } = extent(sine);
      const clicks = steps(sine, reference.channels[0], { hertz: SINE, rate: 48000, offset: first - extent(reference.channels[0]).first, around: 1 << 16, edge: 4000 });
      assert.deepEqual(clicks, [], 'live: steps');
    },
  },
  {
    name: 'seamless: MP3 tracks one after another, trimmed by their LAME tags',
    async run(tools) {
      const page = await tools.page();
      // A sine that goes on over the seam would be no sine: the noise shows every frame.
      const album = chained(tools, [0.9, 1.23].map((seconds) => file(tools, 'noise', 'mp3', { seconds })));
      const result = await listen(page, tools.site, 'album', { rate: 44100, options: { mode: 'complete', latency: 0.5 } }, { append: album.url, seed: 6, largest: 5000 });
      steady(result, 'album');
      tools.seamless(album.reference(44100), result.recorded, { limit: 2e-4 }, 'album');
    },
  },
];

/** What a listener heard that joined a programme at some place: after its decoder has settled, every frame to the programme's end. */
function fromTheJoinOn(tools, reference, recorded, what, { after = 0, limit = 1e-3 } = {}) {
  const { rate } = reference;
  // A decoder that starts mid-stream converges over some hundred ms (RFC 7845 §4.6 asks for 80);
  // MP3's bit reservoir may reach back over several frames.
  const lead = Math.round(0.4 * rate);
  const { first, last } = bounds(recorded.channels[1]);
  const settled = cut(recorded, first + lead);
  const { offset } = tools.seamless(reference, settled, { whole: false, limit }, what);
  const joinedAt = (-offset - lead) / rate;
  const heard = (last - first) / rate;
  tools.note(`${what}: joined at ${joinedAt.toFixed(2)} s, heard ${heard.toFixed(2)} s`);
  assert.ok(joinedAt > after - 0.001, `${what} joined at ${joinedAt} s, which is before ${after} s`);
  // To the very end: what was heard and where it began make up the whole.
  const end = bounds(reference.channels[1]).last;
  assert.ok(Math.abs(-offset - lead + (last - first) - end) <= 1, `${what} ended ${-offset - lead + (last - first) - end} frames off the programme's end`);
  return joinedAt;
}

function bounds(plane, level = 0.02) {
  let first = 0;
  while (first < plane.length && Math.abs(plane[first]) <= level) first++;
  let last = plane.length - 1;
  while (last >= 0 && Math.abs(plane[last]) <= level) last--;
  return { first, last };
}
