// The suite's own: that it records exactly, and that every detector fires on the
// defect it is for. No product is involved.

import assert from 'node:assert/strict';
import { compare, silentMs } from '../lib/analysis.mjs';
import { sleep } from '../lib/process.mjs';
import { SINE, resample, signal } from '../lib/reference.mjs';

/**
 * Plays `pcm` as buffers of 960 frames in a page, seamless or with a defect in the
 * middle, and records it.
 */
async function play({ page, site }, pcm, { rate = pcm.rate, defect = '', blockMs = 0, lead = 4 } = {}) {
  const name = `detector-${Math.random()}`;
  const source = `/pcm/${name}`;
  site.route(source, (request, response) => {
    response.writeHead(200, { 'content-type': 'application/octet-stream' });
    for (const plane of pcm.channels) response.write(Buffer.from(plane.buffer, plane.byteOffset, plane.byteLength));
    response.end();
  });
  const watch = await page.run(async ({ source: path, rate, defect, blockMs, lead, name }) => {
    const samples = new Float32Array(await (await fetch(path)).arrayBuffer());
    const total = samples.length / 2;
    const planes = [samples.subarray(0, total), samples.subarray(total)];
    const context = await bench.context(rate);
    const out = new GainNode(context);
    out.connect(context.destination);
    const recorder = await bench.Recorder.tap(out);
    const watch = new bench.ClockWatch(context);
    const SIZE = 960;
    let frame = Math.ceil(context.currentTime * rate / 128) * 128 + Math.round(rate * 0.3);
    const count = Math.floor(total / SIZE);
    for (let n = 0; n < count; n++) {
      // Only as far ahead as `lead`, as a player on the main thread does.
      while (frame / rate > context.currentTime + lead) {
        await bench.sleep(5);
        if (blockMs && n > count / 2) { bench.block(blockMs); blockMs = 0; }
      }
      const middle = n === count >> 1;
      if (middle && defect === 'drop') continue;
      if (middle && defect === 'late') frame += 1;
      for (let times = middle && defect === 'repeat' ? 2 : 1; times > 0; times--) {
        const buffer = context.createBuffer(2, SIZE, rate);
        planes.forEach((plane, c) => buffer.copyToChannel(plane.subarray(n * SIZE, (n + 1) * SIZE), c));
        if (middle && defect === 'click') buffer.getChannelData(0)[100] += 0.004;
        const source = new AudioBufferSourceNode(context, { buffer });
        source.connect(out);
        if (frame / rate < context.currentTime) frame = Math.ceil(context.currentTime * rate / 128) * 128 + 128;
        if (!(middle && defect === 'silence')) source.start(frame / rate);
        frame += SIZE;
      }
    }
    while (context.currentTime < frame / rate + 0.1) await bench.sleep(20);
    const read = watch.read();
    await recorder.stop(name);
    await context.close();
    return read;
  }, { source, rate, defect, blockMs, lead, name });
  const recorded = site.take(name);
  const whole = pcm.channels[0].length - pcm.channels[0].length % 960;
  return { recorded, watch, reference: { rate, channels: pcm.channels.map((plane) => plane.subarray(0, whole)) } };
}

export default [
  {
    name: 'detectors: scheduled buffers record sample-exactly',
    async run(tools) {
      const page = await tools.page();
      await Promise.all([44100, 48000, 96000].map(async (rate) => {
        const kind = rate === 44100 ? 'sine' : 'noise';
        const { recorded, reference } = await play({ ...tools, page }, signal(kind, 1, rate));
        tools.seamless(reference, recorded, { hertz: kind === 'sine' ? SINE : 0, exact: true, limit: 1e-6, tolerance: 0 }, `${kind} ${rate}`);
      }));
    },
  },
  {
    name: 'detectors: every defect is found',
    browsers: ['chromium'],
    async run(tools) {
      const page = await tools.page();
      const defects = {
        drop: { noise: /960 frames|-960/, sine: /steps/ },
        repeat: { noise: /960 frames/, sine: /steps/ },
        late: { noise: /1 frames/, sine: /steps/ },
        click: { noise: /1 places/, sine: /1 steps/ },
        silence: { noise: /silences, first of 960/, sine: /silences/ },
      };
      await Promise.all(Object.entries(defects).flatMap(([defect, expected]) => ['noise', 'sine'].map(async (kind) => {
        const { recorded, reference } = await play({ ...tools, page }, signal(kind, 0.6), { defect });
        const { failures } = compare(reference, recorded, { hertz: kind === 'sine' ? SINE : 0, exact: true });
        assert.match(failures.join('; '), expected[kind], `${defect} in ${kind}`);
      })));
    },
  },
  {
    name: 'detectors: a resampled signal matches up to its resampler, one lost frame does not',
    browsers: ['chromium'],
    async run({ note }) {
      const pcm = signal('noise', 2, 44100);
      const there = resample(pcm, 48000);
      const back = { ...resample(there, 44100), holes: [] };
      const same = compare(pcm, back, {});
      assert.deepEqual(same.failures, []);
      note(`44.1 → 48 → 44.1 kHz by sox: SNR ${same.snr.toFixed(1)} dB`);
      const lost = back.channels.map((plane) => Float32Array.from(plane).copyWithin(30000, 30001));
      assert.match(compare(pcm, { ...back, channels: lost }, {}).failures.join(), /places differ.*1 frames late/);
    },
  },
  {
    name: 'detectors: a blocked main thread starves what it schedules',
    async run(tools) {
      const page = await tools.page();
      const { recorded } = await play({ ...tools, page }, signal('noise', 2), { lead: 0.2, blockMs: 700 });
      const silence = silentMs(recorded);
      tools.note(`${silence.toFixed(0)} ms of silence for 700 ms blocked at 200 ms lead`);
      assert.ok(silence > 300 && silence < 1500, `${silence} ms of silence`);
    },
  },
  {
    name: 'detectors: a stopped renderer shows in the clock or in playbackStats',
    browsers: ['chromium'],
    async run(tools) {
      const page = await tools.page();
      const { renderers } = await tools.browser();
      const playing = play({ ...tools, page }, signal('noise', 2));
      await sleep(1200);
      const pids = renderers();
      for (const pid of pids) process.kill(pid, 'SIGSTOP');
      await sleep(400);
      for (const pid of pids) process.kill(pid, 'SIGCONT');
      const { watch } = await playing;
      tools.note(`drift ${watch.driftMs.toFixed(0)} ms, ${watch.underruns} underruns of ${watch.lostMs.toFixed(0)} ms`);
      assert.ok(Math.abs(watch.driftMs) > 100 || watch.underruns > 0, JSON.stringify(watch));
    },
  },
  {
    name: 'detectors: an error in the page fails a case',
    async run({ page }) {
      const bad = await page('/bench/bench.html', { tolerate: /expected by the suite/ });
      await bad.run(() => {
        console.error('expected by the suite: console');
        setTimeout(() => { throw new Error('expected by the suite: thrown'); });
        Promise.reject(new Error('expected by the suite: rejected'));
      });
      await sleep(200);
      const seen = [...await bad.errors(), ...await bad.run(() => globalThis.benchErrors)].join('\n');
      for (const what of ['console', 'thrown', 'rejected']) assert.match(seen, new RegExp(`expected by the suite: ${what}`));
    },
  },
  {
    name: 'detectors: the sink hears the same frames',
    browsers: ['firefox', 'webkit'],
    async run(tools) {
      const page = await tools.page();
      const stop = await tools.machine.recordSink();
      const { reference } = await play({ ...tools, page }, signal('noise', 2));
      // The machine may be busy, so the sink's recording is judged for content only.
      const recorded = await stop();
      tools.seamless(reference, recorded, { limit: 1e-4 }, 'null sink');
    },
  },
];
