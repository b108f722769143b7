// Mounts of the relay in a plain `<audio>`, joined in the middle.

import assert from 'node:assert/strict';
import { until } from '../lib/process.mjs';

/** Plays for a while; what an element does not do within its time it never does. */
const plays = (page, url) => page.run(async (url) => {
  const audio = new Audio(url);
  await audio.play();
  const begin = audio.currentTime;
  await new Promise((resolve, reject) => {
    const limit = setTimeout(() => reject(new Error(`at ${audio.currentTime}, state ${audio.readyState}, ` +
      `error ${audio.error?.message}`)), 20_000);
    const look = () => {
      if (audio.currentTime < begin + 1) return setTimeout(look, 50);
      clearTimeout(limit);
      resolve();
    };
    look();
  });
  const played = audio.currentTime - begin;
  audio.pause();
  audio.removeAttribute('src');
  return played;
}, url);

export default [
  {
    name: 'audio: a plain <audio> plays mounts that it joins late',
    relay: true,
    limit: 120_000,
    async run(tools) {
      const relay = await tools.relay(['--demo']);
      const page = await tools.page();
      for (const mount of ['/demo.opus', '/demo.mp3']) {
        // Past the burst, so that the first pages are not among those it gets.
        await until(async () => (await (await fetch(relay.url(`/api/mounts${mount}`))).json()).media_time > 4, 60_000, mount);
        const played = await plays(page, relay.url(mount));
        assert.ok(played >= 1, `${mount}: ${played} s`);
        tools.note(`${mount}: played ${played.toFixed(1)} s`);
      }
    },
  },
];
