// What the relay is fed with: music to play, and clicks whose way can be timed.

import http from 'node:http';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Program, output } from '../lib/process.mjs';
import { encode } from '../lib/reference.mjs';
import { wall } from './sink.mjs';

const RATE = 48000;
/** Length of the music before it begins again, seconds. */
const LOOP = 60;
const MUSIC = "aevalsrc='0.2*sin(220*2*PI*t)*(0.6+0.4*sin(3*t))+0.1*sin(1760*2*PI*t)*sin(5*t)+0.15*random(0)*exp(-8*mod(t,0.5))+0.1*sin(440*2*PI*t)|0.2*sin(330*2*PI*t)+0.1*sin(2640*2*PI*t)*cos(4*t)+0.15*random(1)*exp(-8*mod(t+0.25,0.5))'";

/** Music that is never silent, published in real time as stereo at 128 kbit/s to `/music.opus` or `/music.mp3`. */
export function music(relay, folder, codec, seconds) {
  const [once, path] = ['once', 'music'].map((name) => join(folder, `${name}.${codec}`));
  const encoder = codec === 'opus' ? ['-c:a', 'libopus', '-page_duration', '20000'] : ['-c:a', 'libmp3lame', '-write_xing', '0', '-id3v2_version', '0'];
  output('ffmpeg', ['-v', 'error', '-nostdin', '-y', '-f', 'lavfi', '-i', `${MUSIC}:s=48000:d=${LOOP}`, ...encoder, '-b:a', '128k', once], { ms: 120_000 });
  const again = Math.ceil(seconds / LOOP);
  if (codec === 'mp3') writeFileSync(path, Buffer.concat(Array(again).fill(readFileSync(once))));
  else output('ffmpeg', ['-v', 'error', '-nostdin', '-y', '-stream_loop', again, '-i', once, '-c', 'copy', '-page_duration', '20000', path]);
  return new Program(relay.binary, ['publish', path, relay.url(`/music.${codec}`).replace('//', `//source:${relay.password}@`)]);
}

/** Every whole page of an Ogg file, with the granule position of its end. */
export function* pages(bytes) {
  for (let at = 0; at + 27 <= bytes.length;) {
    const segments = bytes[at + 26];
    let length = 27 + segments;
    for (let i = 0; i < segments; i++) length += bytes[at + 27 + i];
    yield { page: bytes.subarray(at, at + length), granule: Number(bytes.readBigInt64LE(at + 6)) };
    at += length;
  }
}

/**
 * A source that writes one packet of 20 ms at a time, silence but for a burst of
 * 100 ms in each second. `written` holds for each burst so far when the page in
 * which it begins was written, and how far into it, ms.
 */
export class Clicks {
  written = [];

  constructor(folder, seconds) {
    const plane = new Float32Array(seconds * RATE);
    this.starts = [];
    for (let at = RATE / 2; at < plane.length; at += RATE) {
      this.starts.push(at);
      for (let i = 0; i < RATE / 10; i++) plane[at + i] = 0.5 * Math.sin(2 * Math.PI * 1500 * i / RATE);
    }
    const path = encode(folder, 'clicks', { rate: RATE, channels: [plane, plane] }, 'opus', ['-application', 'lowdelay', '-frame_duration', '20', '-page_duration', '20000']);
    this.pages = [...pages(readFileSync(path))];
    // OpusHead (RFC 7845 §5.1) is the first page's only packet.
    this.preSkip = this.pages[0].page.readUInt16LE(28 + 10);
  }

  /** Sends it to `mount`, to the end or until `stop()`. */
  start(relay, mount) {
    const { port } = new URL(relay.url('/'));
    this.request = http.request({ host: '127.0.0.1', port, method: 'PUT', path: mount, headers: {
      'content-type': 'audio/ogg', authorization: `Basic ${Buffer.from(`source:${relay.password}`).toString('base64')}`,
    } });
    this.request.on('error', () => {});
    this.request.on('response', (response) => response.resume());
    this.request.setNoDelay(true);
    let [n, begun, before, next] = [0, 0, 0, 0];
    const write = () => {
      const now = wall();
      begun ||= now;
      // A live source never sends what has not happened yet.
      while (n < this.pages.length && Math.max(before - this.preSkip, 0) * 1000 / RATE <= now - begun) {
        const { page, granule } = this.pages[n++];
        this.request.write(page);
        const first = this.starts[next] + this.preSkip;
        if (granule > first) {
          this.written.push({ at: wall(), into: (first - before) * 1000 / RATE });
          next += 1;
        }
        before = Math.max(granule, 0);
      }
      if (n < this.pages.length) this.timer = setTimeout(write, 2);
      else this.request.end();
    };
    write();
  }

  stop() {
    clearTimeout(this.timer);
    this.request?.destroy();
  }
}
