// Files of the relay in a plain `<audio>`, also one that another program still writes.

import assert from 'node:assert/strict';
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { Program, until } from '../lib/process.mjs';

/** ffmpeg writes a tone to `path` in real time. */
const writer = (path, seconds, codec) => new Program('ffmpeg', ['-v', 'error', '-nostdin', '-re', '-f', 'lavfi',
  '-i', `sine=440:r=48000:d=${seconds}`, ...codec, '-flush_packets', '1', path]);

const MP3 = ['-c:a', 'libmp3lame', '-b:a', '128k', '-write_xing', '0'];

const size = (path) => { try { return statSync(path).size; } catch { return 0; } };

/** Plays, seeks forward and back, and plays past all that was there when it began; what an element does not do within its time it never does. */
const playAndSeek = (page, url, far, past) => page.run(async ({ url, far, past }) => {
  const audio = new Audio();
  const limit = (what, ms, start) => new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`${what} took more than ${ms} ms: at ${audio.currentTime}, state ${audio.readyState}, ` +
      `error ${audio.error?.message}, seekable ${audio.seekable.length ? audio.seekable.end(0) : 'nothing'}`)), ms);
    start((value) => { clearTimeout(timer); resolve(value); });
  });
  const advances = (what) => limit(what, 20_000, (done) => {
    const from = audio.currentTime;
    const look = () => (audio.currentTime > from + 0.4 ? done() : setTimeout(look, 50));
    look();
  });
  const seek = async (to) => {
    await limit(`a seek to ${to}`, 20_000, (done) => {
      audio.addEventListener('seeked', done, { once: true });
      audio.currentTime = to;
    });
    const at = audio.currentTime;
    await advances(`playing on from ${to}`);
    return at;
  };
  audio.src = url;
  await audio.play();
  await advances('playing');
  const landed = [await seek(far), await seek(1), await seek(far)];
  await limit(`playing to ${past} s`, 60_000, (done) => {
    const look = () => (audio.currentTime > past ? done() : setTimeout(look, 50));
    look();
  });
  landed.push(await seek(1));
  const duration = audio.duration;
  audio.pause();
  audio.removeAttribute('src');
  return { landed, duration };
}, { url, far, past });

export default [
  {
    name: 'files: a plain <audio> plays and seeks in a file that is being written',
    browsers: ['chromium', 'firefox'],
    relay: true,
    limit: 240_000,
    async run(tools) {
      const relay = await tools.relay([]);
      // Of one, five seconds are there: elements read that at once, and would take it for all.
      for (const [name, there, query, codec] of [['short.mp3', 80_000, '', MP3], ['growing.mp3', 130_000, '?wait=10', MP3],
        ['growing.opus', 130_000, '', ['-c:a', 'libopus', '-b:a', '96k', '-page_duration', '100000']]]) {
        const path = join(relay.folder, name);
        const writing = writer(path, 120, codec);
        try {
          await until(() => size(path) > there, 60_000, `${name} to grow`);
          const page = await tools.page();
          const { landed, duration } = await playAndSeek(page, relay.url(`/files/${name}${query}`), 4, there / 16_000 + 1);
          assert.equal(writing.exit, undefined, 'it was written all the time');
          tools.note(`${name}${query}: seeks to 4, 1, 4, 1 landed at ${landed.map((at) => at.toFixed(3)).join(', ')}; duration ${duration}`);
          for (const [index, to] of [4, 1, 4, 1].entries()) assert.ok(Math.abs(landed[index] - to) < 0.5, `${name}: ${to} led to ${landed[index]}`);
        } finally {
          writing.kill();
        }
      }
    },
  },
];
