// node decode-bench.mjs PACKAGE_FOLDER ROUNDS MUSIC.opus SPEECH.opus MUSIC.mp3
// One JSON line: {CASE: {DECODER: [times real time, one for each round]}}.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { OggOpusDecoder } from 'ogg-opus-decoder';
import { MPEGDecoder } from 'mpg123-decoder';
import { packets } from './ogg.mjs';
import { load } from './player.mjs';

const [folder, rounds, music, speech, mp3] = process.argv.slice(2);
const require = createRequire(import.meta.url);
// The wasm build, not the native one that Node would get.
const { Decoder: EvanDecoder } = require('@evan/opus/wasm/index.js');
const { StreamDecoder } = await load(folder);
const PIECE = 64 * 1024;

/** Milliseconds of processor time this process has used: other load on the machine does not count. */
function busy() {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

const decoders = {
  seamcast(bytes) {
    const decoder = new StreamDecoder();
    let frames = 0;
    for (let at = 0; at < bytes.length; at += PIECE) frames += decoder.decode(bytes.subarray(at, at + PIECE)).samplesDecoded;
    frames += decoder.flush().samplesDecoded;
    decoder.free();
    return frames;
  },
  async 'ogg-opus-decoder'(bytes) {
    const decoder = new OggOpusDecoder({ forceStereo: false });
    await decoder.ready;
    let frames = 0;
    const begin = busy();
    for (let at = 0; at < bytes.length; at += PIECE) frames += (await decoder.decode(bytes.subarray(at, at + PIECE))).samplesDecoded;
    frames += (await decoder.flush()).samplesDecoded;
    const took = busy() - begin;
    decoder.free();
    return [frames, took];
  },
  '@evan/opus'(bytes, channels) {
    const decoder = new EvanDecoder({ channels, sample_rate: 48000 });
    let frames = 0;
    for (const packet of packets(bytes).slice(2)) frames += decoder.decode(packet).length / 2 / channels;
    decoder.drop();
    return frames;
  },
  async 'mpg123-decoder'(bytes) {
    const decoder = new MPEGDecoder();
    await decoder.ready;
    let frames = 0;
    const begin = busy();
    for (let at = 0; at < bytes.length; at += PIECE) frames += decoder.decode(bytes.subarray(at, at + PIECE)).samplesDecoded;
    const took = busy() - begin;
    decoder.free();
    return [frames, took];
  },
};

const cases = [
  ['opus music', music, 48000, 2, ['seamcast', 'ogg-opus-decoder', '@evan/opus']],
  ['opus speech', speech, 48000, 1, ['seamcast', 'ogg-opus-decoder', '@evan/opus']],
  ['mp3 music', mp3, 44100, 2, ['seamcast', 'mpg123-decoder']],
];
const results = {};
for (const [name, path, rate, channels, names] of cases) {
  const bytes = new Uint8Array(readFileSync(path));
  const times = (results[name] = Object.fromEntries(names.map((n) => [n, []])));
  // Round 0 warms the compilers up; rounds take turns so that all see the same machine.
  for (let round = 0; round <= Number(rounds); round++) {
    for (const decoder of names) {
      const begin = busy();
      const result = await decoders[decoder](bytes, channels);
      const [frames, took] = Array.isArray(result) ? result : [result, busy() - begin];
      if (round > 0) times[decoder].push(frames / rate / (took / 1000));
    }
  }
}
console.log(JSON.stringify(results));
