// The relay's own page at `/`: it loads clean, plays the demo, and everybody can use it.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { extent, silences } from '../lib/analysis.mjs';
import { sleep, until } from '../lib/process.mjs';

const state = (page) => page.run(() => ({
  state: document.getElementById('stage').dataset.state, said: document.getElementById('state').textContent,
  detail: document.getElementById('detail').textContent, underruns: document.getElementById('f-underruns').textContent,
  title: document.getElementById('title').textContent, mounts: document.querySelectorAll('#mounts button').length,
}));

async function reached(page, wanted, ms = 20_000) {
  let last;
  try {
    return await until(async () => {
      last = await state(page);
      if (last.state === 'error') throw new Error(`the page says ${last.said}: ${last.detail}`);
      return last.state === wanted && last;
    }, ms, `state ${wanted}`);
  } catch (error) {
    error.message += `; the page is ${JSON.stringify(last)}`;
    throw error;
  }
}

/** Chooses the mount whose row names it. */
const choose = (page, name) => page.run((name) => {
  const row = [...document.querySelectorAll('#mounts button')].find((button) => button.textContent.includes(name) || button.closest('li').textContent.includes(name));
  if (!row) throw new Error(`no row for ${name} in ${document.getElementById('mounts').textContent}`);
  row.click();
}, name);

export default [
  {
    name: 'page: loads clean, lists and plays both demo mounts',
    relay: true,
    browserOptions: { audible: true },
    limit: 90_000,
    async run(tools) {
      const relay = await tools.relay(['--demo']);
      await relay.mounted('/demo.opus');
      await relay.mounted('/demo.mp3');
      const page = await tools.page(relay.url('/'));
      await until(async () => (await state(page)).mounts >= 2, 15_000, 'two mounts in the list');
      for (const name of ['demo.opus', 'demo.mp3']) {
        await choose(page, name);
        if ((await state(page)).state === 'idle') await page.run(() => document.getElementById('play').click());
        await reached(page, 'playing');
        await sleep(500);
        const stop = await tools.machine.recordSink();
        await sleep(2500);
        const heard = await stop();
        const now = await state(page);
        const plane = heard.channels[0];
        const { first, last } = extent(plane, 0.003);
        const power = plane.reduce((sum, x) => sum + x * x, 0) / plane.length;
        const quiet = silences(plane, { from: first, to: last, least: 480, level: 1e-7 });
        tools.note(`${name}: ${(10 * Math.log10(power)).toFixed(1)} dBFS, ${quiet.length} silences, ${now.underruns} underruns, "${now.title}"`);
        assert.ok(power > 1e-5, `${name} is silent: power ${power}`);
        assert.ok((last - first) / 48000 > 1.5, `${name} sounded for ${(last - first) / 48000} s of 2.5 s`);
        assert.equal(now.underruns, '0', `${name}: ${JSON.stringify(now)}`);
        if (name === 'demo.opus') await page.screenshot(tools.artefact('playing.png'));
      }
      await page.run(() => document.getElementById('play').click());
      await reached(page, 'idle');
    },
  },
  {
    name: 'page: a click plays where autoplay is blocked',
    relay: true,
    browsers: ['chromium'],
    browserOptions: { autoplay: false },
    async run(tools) {
      const relay = await tools.relay(['--demo']);
      await relay.mounted('/demo.opus');
      const page = await tools.page(relay.url('/'));
      const row = page.native.locator('#mounts button').filter({ hasText: 'demo' }).first();
      await row.click({ timeout: 15_000 });
      await sleep(300);
      if ((await state(page)).state === 'idle') await page.native.locator('#play').click();
      await reached(page, 'playing');
      await page.native.keyboard.press('Escape');
    },
  },
  {
    name: 'page: no serious accessibility violations, light and dark, wide and narrow',
    relay: true,
    browsers: ['chromium'],
    limit: 90_000,
    async run(tools) {
      const relay = await tools.relay(['--demo']);
      await relay.mounted('/demo.mp3');
      const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
      for (const [what, options] of Object.entries({
        'light wide': { colorScheme: 'light', viewport: { width: 1280, height: 900 } },
        'dark wide': { colorScheme: 'dark', viewport: { width: 1280, height: 900 } },
        'light narrow': { colorScheme: 'light', viewport: { width: 360, height: 740 } },
        'dark narrow': { colorScheme: 'dark', viewport: { width: 360, height: 740 } },
      })) {
        const page = await tools.page(relay.url('/'), options);
        await until(async () => (await state(page)).mounts >= 2, 15_000, 'two mounts in the list');
        for (const playing of [false, true]) {
          if (playing) {
            await choose(page, 'demo.mp3');
            if ((await state(page)).state === 'idle') await page.run(() => document.getElementById('play').click());
            await reached(page, 'playing');
            await sleep(700);
          }
          await page.native.evaluate(axe);
          const found = await page.native.evaluate(async () => {
            const { violations } = await globalThis.axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'best-practice'] });
            return violations.map(({ id, impact, help, nodes }) => ({ id, impact, help, where: nodes.map(({ target }) => target.join(' ')).slice(0, 3) }));
          });
          const serious = found.filter(({ impact }) => impact === 'serious' || impact === 'critical');
          assert.deepEqual(serious, [], `${what}${playing ? ', playing' : ''}`);
          for (const { id, impact } of found) tools.note(`${what}: ${impact} ${id}`);
        }
        await page.screenshot(tools.artefact(`${what.replace(' ', '-')}.png`));
        const wide = await page.run(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
        assert.ok(wide <= 0, `${what}: the page is ${wide} px wider than the window`);
      }
    },
  },
  {
    name: 'page: has a strict policy and needs nothing from elsewhere',
    relay: true,
    browsers: ['chromium'],
    async run(tools) {
      const relay = await tools.relay(['--demo']);
      const page = await tools.page();
      const foreign = [];
      page.native.on('request', (request) => {
        if (!request.url().startsWith(relay.url('/')) && !request.url().startsWith(relay.ws('/'))) foreign.push(request.url());
      });
      await page.goto(relay.url('/'));
      await until(async () => (await state(page)).mounts >= 1, 15_000, 'a mount in the list');
      assert.deepEqual(foreign, []);
      const head = await fetch(relay.url('/'));
      const inPage = await page.run(() => document.querySelector('meta[http-equiv="Content-Security-Policy"]')?.content ?? '');
      const policy = head.headers.get('content-security-policy') ?? inPage;
      tools.note(policy);
      assert.match(policy, /script-src 'self' 'wasm-unsafe-eval'/);
      assert.doesNotMatch(policy, /unsafe-inline|'unsafe-eval'|\*/);
    },
  },
];
