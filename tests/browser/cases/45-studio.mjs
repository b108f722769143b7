// The page at `/studio`: live sound and files from the browser go on air.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { sleep, until } from '../lib/process.mjs';

const PASSWORD = 'source-of-the-tests';

const state = (page) => page.run(() => ({
  state: document.getElementById('stage').dataset.state, said: document.getElementById('state').textContent,
  detail: document.getElementById('detail').textContent, taken: document.getElementById('f-taken').textContent,
  dropped: document.getElementById('f-dropped').textContent,
}));

async function reached(page, wanted, ms = 30_000) {
  let last;
  return until(async () => {
    last = await state(page);
    if (last.state === 'error' && wanted !== 'error') throw new Error(`the studio says ${last.detail}`);
    return last.state === wanted && last;
  }, ms, `state ${wanted}`).catch((error) => {
    error.message += `; the studio is ${JSON.stringify(last)}`;
    throw error;
  });
}

/** Fills the form in and submits it. */
const publish = (page, fields) => page.run((fields) => {
  for (const [id, value] of Object.entries(fields)) {
    const field = document.getElementById(id);
    field.value = value;
    field.dispatchEvent(new Event('change'));
  }
  document.getElementById('go').click();
}, fields);

const about = async (relay, mount) => (await fetch(relay.url(`/api/mounts${mount}`))).json();

export default [
  {
    name: 'studio: live sound goes on air and off again',
    relay: true,
    browsers: ['chromium'],
    limit: 90_000,
    async run(tools) {
      const relay = await tools.relay();
      const page = await tools.page(relay.url('/studio'));
      await page.run(() => {
        // A tone stands in for the microphone, which no test machine has.
        navigator.mediaDevices.getUserMedia = async () => {
          const context = new AudioContext();
          const tone = new OscillatorNode(context, { frequency: 440 });
          const out = context.createMediaStreamDestination();
          tone.connect(new GainNode(context, { gain: 0.5 })).connect(out);
          tone.start();
          await context.resume();
          return out.stream;
        };
      });
      await publish(page, { mount: '/wrong.mp3', password: 'not-it' });
      const refused = await reached(page, 'error');
      assert.match(refused.detail, /credentials.*\/wrong\.mp3/);

      await publish(page, { mount: '/studio.mp3', password: PASSWORD, title: 'Morning', bitrate: '96k' });
      await reached(page, 'playing');
      const live = await until(async () => {
        const live = await about(relay, '/studio.mp3');
        return live.media_time > 2 && live;
      }, 40_000, 'two seconds on air');
      assert.equal(live.codec, 'mp3');
      assert.equal(live.title, 'Morning');
      assert.equal(live.source.protocol, 'websocket');
      assert.equal(live.stats.faults, 0);
      await page.run(() => document.getElementById('go').click());
      const over = await reached(page, 'idle');
      assert.equal(over.said, 'Off air');
      const ended = await about(relay, '/studio.mp3');
      assert.equal(ended.state, 'ended');
      tools.note(`${ended.media_time.toFixed(2)} s on air, ${over.dropped} dropped`);
    },
  },
  {
    name: 'studio: a file goes on air at its own pace and to its last frame',
    relay: true,
    browsers: ['chromium'],
    limit: 90_000,
    async run(tools) {
      const relay = await tools.relay();
      const page = await tools.page(relay.url('/studio'));
      const seconds = 8;
      const wav = Buffer.alloc(44 + seconds * 96_000);
      wav.write('RIFF', 0);
      wav.writeUInt32LE(wav.length - 8, 4);
      wav.write('WAVEfmt ', 8);
      wav.writeUInt32LE(16, 16);
      wav.writeUInt16LE(1, 20);
      wav.writeUInt16LE(1, 22);
      wav.writeUInt32LE(48_000, 24);
      wav.writeUInt32LE(96_000, 28);
      wav.writeUInt16LE(2, 32);
      wav.writeUInt16LE(16, 34);
      wav.write('data', 36);
      wav.writeUInt32LE(wav.length - 44, 40);
      for (let at = 44; at < wav.length; at += 2) wav.writeInt16LE(Math.round(8000 * Math.sin(at / 20)), at);
      await page.native.locator('#file').setInputFiles({ name: 'tone.wav', mimeType: 'audio/wav', buffer: wav });
      await publish(page, { sound: 'file', mount: 'tone.opus', password: PASSWORD });
      const begun = Date.now();
      await reached(page, 'playing');
      await reached(page, 'idle');
      const took = (Date.now() - begun) / 1000;
      const ended = await about(relay, '/tone.opus');
      tools.note(`${ended.media_time} s of audio in ${took.toFixed(1)} s`);
      assert.equal(ended.media_time, seconds);
      assert.equal(ended.state, 'ended');
      assert.ok(took > seconds - 4.5, `sent in ${took} s, not paced`);
    },
  },
  {
    name: 'studio: no serious accessibility violations, light and dark, wide and narrow',
    relay: true,
    browsers: ['chromium'],
    async run(tools) {
      const relay = await tools.relay();
      const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
      for (const [what, options] of Object.entries({
        'light wide': { colorScheme: 'light', viewport: { width: 1280, height: 900 } },
        'dark narrow': { colorScheme: 'dark', viewport: { width: 360, height: 740 } },
      })) {
        const page = await tools.page(relay.url('/studio'), options);
        await sleep(300);
        await page.native.evaluate(axe);
        const serious = await page.native.evaluate(async () => {
          const { violations } = await globalThis.axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'best-practice'] });
          return violations.filter(({ impact }) => impact === 'serious' || impact === 'critical')
            .map(({ id, help, nodes }) => ({ id, help, where: nodes.map(({ target }) => target.join(' ')).slice(0, 3) }));
        });
        assert.deepEqual(serious, [], what);
        assert.ok(await page.native.evaluate(() => document.documentElement.scrollWidth <= innerWidth), `${what} scrolls sideways`);
        await page.screenshot(tools.artefact(`${what.replace(' ', '-')}.png`));
      }
    },
  },
];
