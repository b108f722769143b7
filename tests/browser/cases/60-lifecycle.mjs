// What devices and systems do to a context.

import assert from 'node:assert/strict';
import { join } from 'node:path';
import { silences, extent } from '../lib/analysis.mjs';
import { file } from '../lib/fixtures.mjs';
import { output } from '../lib/process.mjs';

export default [
  {
    name: 'lifecycle: memory stays where it is while hours go by',
    // The engine and what feeds it, in Node with its clock turned by hand: once is enough.
    browsers: ['chromium'],
    limit: 180_000,
    async run(tools) {
      const script = `
        const { soak } = await import(${JSON.stringify(new URL('../bench/soak.mjs', import.meta.url))});
        const { samples, ...result } = await soak(...${JSON.stringify([process.env.SEAMCAST_WEB ?? join(tools.root, 'web/dist'), tools.folder, 20])}, () => {});
        console.log(JSON.stringify(result));
        process.exit(0);`;
      const result = JSON.parse(output(process.execPath, ['--input-type=module', '-e', script], { ms: 170_000 }));
      tools.note(`${result.minutes} minutes in ${result.realSeconds.toFixed(0)} s: JavaScript heap ${(result.heapPerHour / 1024).toFixed(0)} KiB an hour, wasm ${(result.wasmPerHour / 1024).toFixed(0)}`);
      assert.ok(result.heardSeconds > 60 * result.minutes - 60, `${result.heardSeconds} s were heard`);
      assert.equal(result.wasmPerHour, 0);
      assert.ok(result.heapPerHour < 1 << 20, `the heap grows by ${result.heapPerHour} bytes an hour`);
    },
  },
  {
    name: 'lifecycle: a context whose clock stands still is replaced, and the programme goes on',
    browsers: ['chromium', 'firefox'],
    async run(tools) {
      const page = await tools.page();
      const media = file(tools, 'sine', 'opus', { seconds: 9 });
      const result = await page.run(async (url) => {
        // The clock is stopped for this thread alone, which a worklet would not notice.
        const listening = await bench.Listening.start({ context: false, options: { mode: 'complete', output: 'buffers' } });
        const { player } = listening;
        bench.appendAll(player, await bench.load(url), 21, 8192);
        await listening.play();
        await bench.sleep(1000);
        const old = player.context;
        const { currentTime } = old;
        Object.defineProperty(old, 'currentTime', { get: () => currentTime });
        await listening.wait('interrupted', 20_000);
        const before = player.currentTime;
        const again = player.context;
        // The recorder is the old context's; the player's own clock tells of the new one.
        await listening.wait('ended', 30_000);
        const { log, stats } = { log: listening.log, stats: player.getStats() };
        clearInterval(listening.sampler);
        await player.close();
        return { replaced: again !== old, closed: old.state, before, end: log.findLast(({ type }) => type === 'ended').time, stats, events: log.map(({ type }) => type) };
      }, media.url);
      tools.note(`stood at ${result.before.toFixed(2)} s, ended at ${result.end.toFixed(2)} s; events ${result.events.join(' ')}`);
      assert.ok(result.replaced, 'the context is the same');
      assert.equal(result.closed, 'closed');
      assert.ok(result.before < 3, `the clock stood at about 1 s, and the player was at ${result.before} s`);
      assert.ok(Math.abs(result.end - 9) < 0.01, `ended at ${result.end} of 9 s`);
    },
  },
  {
    // As after a call on a phone: what is asked for while the page is covered comes to nothing.
    name: 'lifecycle: a page that is seen again takes its sound back, and nothing of the programme is lost',
    async run(tools) {
      const page = await tools.page();
      const media = file(tools, 'noise', 'opus', { seconds: 4 });
      const result = await page.run(async (url) => {
        const listening = await bench.Listening.start({ rate: 48000, options: { mode: 'complete' } });
        const { player } = listening;
        const { context } = player;
        bench.appendAll(player, await bench.load(url), 23, 8192);
        await listening.play();
        await bench.sleep(500);
        let refused = 0;
        context.resume = async () => {
          refused += 1;
          throw new DOMException('not now', 'InvalidStateError');
        };
        await context.suspend();
        await listening.wait('interrupted');
        await bench.sleep(500);
        const stood = context.state;
        delete context.resume;
        document.dispatchEvent(new Event('visibilitychange'));
        await listening.wait('ended');
        return { refused, stood, ...await listening.finish('seen') };
      }, media.url);
      assert.ok(result.refused > 0, 'resumed when it was suspended');
      assert.equal(result.stood, 'suspended');
      const recorded = tools.site.take('seen');
      tools.seamless(media.reference(48000), recorded, { limit: 2e-4 });
    },
  },
  {
    name: 'lifecycle: currentTime is what is heard, however late the device, and ends where the programme does',
    browsers: ['chromium', 'webkit'],
    async run(tools) {
      const page = await tools.page();
      const media = file(tools, 'noise', 'opus', { seconds: 4 });
      const result = await page.run(async (url) => {
        const listening = await bench.Listening.start({ rate: 48000, options: { mode: 'complete' } });
        const { player } = listening;
        const { context } = player;
        // As a headset does that is linked in the middle of it.
        let wireless = 0;
        const { get } = Object.getOwnPropertyDescriptor(AudioContext.prototype, 'outputLatency');
        Object.defineProperty(context, 'outputLatency', { get: () => get.call(context) + wireless });
        bench.appendAll(player, await bench.load(url), 24, 8192);
        await listening.play();
        await bench.sleep(1500);
        const look = () => ({ time: player.currentTime, latency: player.getStats().outputLatency });
        const wired = look();
        wireless = 0.25;
        const late = look();
        await listening.wait('ended');
        return { wired, late, end: player.currentTime, duration: player.duration, ...await listening.finish('late') };
      }, media.url);
      tools.site.take('late');
      const { wired, late, end, duration } = result;
      assert.ok(Math.abs(wired.time - late.time - 0.25) < 0.02, `from ${wired.time} to ${late.time} s`);
      assert.ok(Math.abs(late.latency - wired.latency - 0.25) < 0.02, `from ${wired.latency} to ${late.latency} s`);
      assert.ok(wired.latency >= 0 && wired.latency < 0.3, `${wired.latency} s`);
      assert.ok(Math.abs(end - 4) < 1e-3 && Math.abs(duration - 4) < 1e-3, `ended at ${end} of ${duration} s`);
    },
  },
  {
    name: 'lifecycle: choosing the output device does not interrupt, one that is missing is told',
    browsers: ['chromium'],
    async run(tools) {
      const page = await tools.page();
      const media = file(tools, 'noise', 'opus', { seconds: 3 });
      const result = await page.run(async (url) => {
        const listening = await bench.Listening.start({ rate: 48000, options: { mode: 'complete' } });
        const { player } = listening;
        bench.appendAll(player, await bench.load(url), 22, 8192);
        await listening.play();
        await bench.sleep(500);
        const missing = await player.setSinkId('no such device').then(() => 'set', ({ name }) => name);
        await player.setSinkId('');
        await listening.wait('ended');
        return { missing, sinkId: player.sinkId, ...await listening.finish('sink') };
      }, media.url);
      assert.equal(result.missing, 'NotFoundError');
      assert.equal(result.sinkId, '');
      const recorded = tools.site.take('sink');
      const { first, last } = extent(recorded.channels[1]);
      assert.deepEqual(silences(recorded.channels[1], { from: first, to: last, least: 48, level: 1e-5 }), []);
      tools.seamless(media.reference(48000), recorded, { limit: 2e-4 });
    },
  },
  {
    // A context's first answer holds the lock that its audio thread needs, and waits for that thread: one page in some
    // dozens then stands still for good. `node.context.outputLatency` of a new context, read at once in a loop, shows it.
    name: 'lifecycle: a browser that can lock up when asked for its output latency is not asked',
    browsers: ['firefox'],
    async run(tools) {
      const page = await tools.page();
      const media = file(tools, 'noise', 'opus', { seconds: 2 });
      const result = await page.run(async (url) => {
        const asked = [];
        for (const name of ['outputLatency', 'getOutputTimestamp']) {
          const { get, value } = Object.getOwnPropertyDescriptor(AudioContext.prototype, name);
          const counted = (f) => function (...rest) { asked.push(name); return f.apply(this, rest); };
          Object.defineProperty(AudioContext.prototype, name, get ? { get: counted(get) } : { value: counted(value) });
        }
        const listening = await bench.Listening.start({ options: { mode: 'complete' } });
        const { player } = listening;
        bench.appendAll(player, await bench.load(url), 22, 8192);
        await listening.play();
        const { outputLatency } = player.getStats();
        await listening.wait('ended', 30_000);
        return { asked, outputLatency, baseLatency: player.context.baseLatency, ...await listening.finish('unasked') };
      }, media.url);
      tools.site.take('unasked');
      assert.deepEqual(result.asked, []);
      assert.equal(result.outputLatency, result.baseLatency);
    },
  },
];
