// Titles: told when they become audible, also after a seek.

import assert from 'node:assert/strict';
import { join } from 'node:path';
import { signal } from '../lib/reference.mjs';
import { sleep } from '../lib/process.mjs';

export default [
  {
    name: 'titles: told when they become audible, also after a seek',
    browsers: ['chromium', 'firefox'],
    relay: true,
    limit: 120_000,
    async run(tools) {
      const relay = await tools.relay();
      const copy = join(tools.folder, `${tools.browserName}-titles-${Date.now()}.opus`);
      const program = relay.publish('/titles.opus', signal('noise', 60), 'opus', copy);
      await relay.mounted('/titles.opus');
      const authorization = { headers: { Authorization: 'Bearer token-of-the-tests' } };
      for (const title of ['One', 'Two']) {
        await sleep(3500);
        const answer = await fetch(relay.url(`/admin/metadata?mode=updinfo&mount=/titles.opus&song=${title}`), authorization);
        assert.equal(answer.status, 200);
      }
      await sleep(3000);
      // All of it is received at once, seconds before it is heard.
      const page = await tools.page();
      await page.run(async (src) => {
        const listening = bench.listening.titles = await bench.Listening.start({ rate: 48000, options: { mode: 'complete', latency: 0.5 } });
        const { player } = listening;
        globalThis.told = [];
        player.addEventListener('metadata', ({ detail }) => {
          if (detail.tags.TITLE) told.push({ title: detail.tags.TITLE, at: detail.at, time: player.currentTime });
        });
        player.src = src;
        await listening.play();
      }, `${relay.ws('/titles.opus')}?from=start`);
      const told = (count) => page.run(async (count) => {
        for (let waited = 0; told.length < count && waited < 30_000; waited += 50) await new Promise((done) => setTimeout(done, 50));
        return told;
      }, count);
      const before = await told(2);
      assert.deepEqual(before.map(({ title }) => title), ['One', 'Two'], JSON.stringify(before));
      const [one, two] = before.map(({ at }) => at);
      await page.run((to) => bench.listening.titles.player.seek(to), (one + two) / 2);
      const all = await told(4);
      tools.note(all.map(({ title, at, time }) => `${title} of ${at.toFixed(3)} s at ${time.toFixed(3)} s`).join(', '));
      assert.deepEqual(all.map(({ title, at }) => [title, at]), [['One', one], ['Two', two], ['One', one], ['Two', two]]);
      // A stalled machine may tell late, nothing may tell early.
      for (const [index, { at, time }] of all.entries()) {
        const due = index === 2 ? (one + two) / 2 : at;
        assert.ok(time > due - 0.15 && time < due + 1.5, `${all[index].title} was told at ${time} s, not ${due} s`);
      }
      await page.run(() => bench.listening.titles.finish('titles'));
      tools.site.take('titles');
      program.kill();
    },
  },
];
