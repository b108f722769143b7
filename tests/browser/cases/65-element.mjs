// `<seamcast-player>`: what it shows of its source, and that its button plays.

import assert from 'node:assert/strict';
import { file } from '../lib/fixtures.mjs';

export default [
  {
    name: 'element: names its source, plays it and passes on what the player tells',
    async run(tools) {
      const page = await tools.page();
      const { url } = file(tools, 'noise', 'opus', { seconds: 1.5 });
      const seen = await page.run(async (url) => {
        await bench.import('/seamcast/player/element.js');
        const element = document.createElement('seamcast-player');
        element.setAttribute('controls', '');
        // As frameworks do it: in the page first, and then its source.
        document.body.append(element);
        const shown = (part) => element.shadowRoot.querySelector(part);
        const button = shown('button');
        const names = [];
        const disabled = [button.disabled];
        for (const src of ['/50%25%20off.opus?from=start', '/100%.opus', null, url]) {
          element.src = src;
          names.push(shown('b').textContent);
          disabled.push(button.disabled);
        }
        element.setAttribute('label', 'Noise');
        names.push(shown('b').textContent);
        const told = [];
        for (const type of ['play', 'playing', 'ended']) element.addEventListener(type, () => told.push(`${type}: ${shown('span').textContent}`));
        await new Promise((done, failed) => {
          element.addEventListener('ended', done);
          element.addEventListener('error', ({ detail }) => failed(detail.error));
          button.click();
        });
        const label = button.getAttribute('aria-label');
        const { player } = element;
        element.remove();
        await new Promise((done) => setTimeout(done));
        return { names, disabled, told, label, left: player.src };
      }, url);
      assert.deepEqual(seen.names, ['50% off.opus', '100%.opus', '', url.split('/').pop(), 'Noise']);
      assert.deepEqual(seen.disabled, [true, false, false, true, false]);
      assert.deepEqual(seen.told, ['play: Buffering…', 'playing: Playing', 'ended: Ended']);
      assert.equal(seen.label, 'Play');
      assert.equal(seen.left, null);
    },
  },
  {
    name: 'element: shows what it plays, and how loud, whatever its page does',
    browsers: ['chromium'],
    async run(tools) {
      const page = await tools.page(undefined, { tolerate: /nowhere:/ });
      const media = file(tools, 'noise', 'opus', { seconds: 20 });
      const seen = await page.run(async (url) => {
        await bench.import('/seamcast/player/element.js');
        const wait = (ms) => new Promise((done) => { setTimeout(done, ms); });
        const element = document.createElement('seamcast-player');
        const shown = () => {
          const [play, mute, volume] = element.shadowRoot.querySelectorAll('button, input');
          return {
            title: element.shadowRoot.querySelector('b').textContent, state: element.shadowRoot.querySelector('span').textContent,
            play: play.getAttribute('aria-label'), muted: mute.getAttribute('aria-pressed'), volume: Number(volume.value),
          };
        };
        const seen = {};
        const faults = [];
        addEventListener('error', ({ message }) => faults.push(message));
        element.setAttribute('controls', '');
        element.setAttribute('muted', '');
        element.setAttribute('volume', '0.25');
        element.src = '/100%.opus';
        document.body.append(element);
        seen.built = shown();
        element.src = url;
        seen.named = shown();
        await element.play();
        seen.playing = shown();
        // The listener's own choice outlives a change of station.
        element.player.volume = 0.01;
        element.player.muted = false;
        element.src = `${url}?other`;
        for (let n = 0; n < 400 && shown().state !== 'Playing'; n += 1) await wait(25);
        seen.other = { ...shown(), level: element.player.volume };
        element.removeAttribute('muted');
        element.setAttribute('muted', '');
        seen.hushed = { ...shown(), level: element.player.volume };
        element.src = null;
        seen.nothing = shown();
        element.src = url;
        await element.play();
        element.remove();
        await wait(50);
        document.body.append(element);
        seen.again = shown();
        // What attributes cannot be is told by an event, as an element does it, and mended by another.
        let error;
        element.addEventListener('error', (event) => { ({ error } = event); });
        element.setAttribute('latency', 'soon');
        element.src = 'nowhere://x';
        seen.wrong = [await element.play().then(() => 'plays', ({ reason }) => reason), error?.reason, shown().play, element.player.paused];
        element.src = url;
        await element.play();
        seen.mended = shown().state;
        element.remove();
        await wait(50);
        return { ...seen, faults };
      }, media.url);
      const name = media.url.split('/').pop();
      assert.deepEqual(seen.faults, []);
      assert.deepEqual(seen.built, { title: '100%.opus', state: 'Ready', play: 'Play', muted: 'true', volume: 50 });
      assert.equal(seen.named.title, name);
      assert.equal(seen.playing.state, 'Playing');
      assert.deepEqual(seen.other, { title: name, state: 'Playing', play: 'Pause', muted: 'false', volume: 10, level: 0.01 });
      assert.deepEqual([seen.hushed.muted, seen.hushed.level], ['true', 0.01]);
      assert.deepEqual([seen.nothing.state, seen.nothing.play, seen.nothing.title], ['Ready', 'Play', '']);
      assert.deepEqual([seen.again.state, seen.again.play], ['Ready', 'Play']);
      assert.deepEqual(seen.wrong, ['unreachable', 'unreachable', 'Try again', true]);
      assert.equal(seen.mended, 'Playing');
    },
  },
];
