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
];
