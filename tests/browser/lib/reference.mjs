// Signals, and what reference programs make of them.

import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { output } from './process.mjs';

export const SINE = 997;

/**
 * `sine`: 997 Hz, the right channel a quarter period later. `noise`: band-limited
 * pseudo-random sequences, other in each channel. Both begin and end loud, so
 * that a frame cut off either end shows.
 */
export function signal(kind, seconds, rate = 48000) {
  const frames = Math.round(seconds * rate);
  const channels = [new Float32Array(frames), new Float32Array(frames)];
  if (kind === 'sine') {
    for (let i = 0; i < frames; i++) {
      const phase = 2 * Math.PI * SINE * i / rate;
      channels[0][i] = 0.5 * Math.sin(phase + 1);
      channels[1][i] = 0.5 * Math.cos(phase + 1);
    }
  } else if (kind === 'noise') {
    // Below 12 kHz, where every resampler is flat, so that they can be compared.
    const taps = lowpass(12000 / rate);
    let state = 12345;
    const random = () => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      return state / 2147483648 - 1;
    };
    for (const plane of channels) {
      const white = Float32Array.from({ length: frames + taps.length }, random);
      for (let i = 0; i < frames; i++) {
        let value = 0;
        for (let k = 0; k < taps.length; k++) value += white[i + k] * taps[k];
        plane[i] = 0.35 * value;
      }
    }
  } else {
    throw new Error(`no signal named ${kind}`);
  }
  return { rate, channels };
}

function lowpass(cut) {
  const half = 32;
  const taps = [];
  for (let k = -half; k <= half; k++) {
    const window = 0.5 + 0.5 * Math.cos(Math.PI * k / (half + 1));
    taps.push((k === 0 ? 2 * cut : Math.sin(2 * Math.PI * cut * k) / (Math.PI * k)) * window);
  }
  return taps;
}

export function interleave({ channels }) {
  const frames = channels[0].length;
  const samples = new Float32Array(frames * channels.length);
  channels.forEach((plane, c) => { for (let i = 0; i < frames; i++) samples[i * channels.length + c] = plane[i]; });
  return Buffer.from(samples.buffer);
}

export function fromRaw(bytes, rate, count = 2) {
  const copy = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + (bytes.length & ~3));
  const samples = new Float32Array(copy);
  const frames = Math.floor(samples.length / count);
  const channels = Array.from({ length: count }, (_, c) => Float32Array.from({ length: frames }, (_, i) => samples[i * count + c]));
  return { rate, channels };
}

const CODECS = {
  opus: ['-c:a', 'libopus', '-b:a', '160k', '-f', 'ogg', '-page_duration', '100000'],
  mp3: ['-c:a', 'libmp3lame', '-b:a', '192k', '-f', 'mp3'],
};

/** Encodes with ffmpeg: `opus` or `mp3`. Returns the file's path. */
export function encode(folder, name, pcm, codec, more = []) {
  const path = join(folder, `${name}.${codec}`);
  output('ffmpeg', ['-v', 'error', '-nostdin', '-y', '-f', 'f32le', '-ar', pcm.rate, '-ac', pcm.channels.length, '-i', 'pipe:0',
    ...CODECS[codec], ...more, path], { input: interleave(pcm) });
  return path;
}

/** The reference decode of a file: opusdec at 48 kHz, or mpg123 at the file's rate. */
export function decode(path) {
  const wav = `${path}.wav`;
  if (path.endsWith('.mp3')) output('mpg123', ['-q', '-e', 'f32', '-w', wav, path]);
  else output('opusdec', ['--quiet', '--float', '--no-dither', '--rate', 48000, path, wav]);
  return readWav(wav);
}

/** Reads a WAV file of 32-bit floats. */
export function readWav(path) {
  const bytes = readFileSync(path);
  let at = 12, rate = 0, count = 0;
  while (at + 8 <= bytes.length) {
    const id = bytes.toString('latin1', at, at + 4);
    const size = Math.min(bytes.readUInt32LE(at + 4), bytes.length - at - 8);
    if (id === 'fmt ') {
      count = bytes.readUInt16LE(at + 10);
      rate = bytes.readUInt32LE(at + 12);
      if (bytes.readUInt16LE(at + 22) !== 32) throw new Error(`${path}: not 32-bit floats`);
    }
    if (id === 'data') return fromRaw(bytes.subarray(at + 8, at + 8 + size), rate, count);
    at += 8 + size + (size & 1);
  }
  throw new Error(`${path}: no data chunk`);
}

/** Resampled by sox's very-high-quality resampler, linear phase: independent of ours. */
export function resample(pcm, rate) {
  if (pcm.rate === rate) return pcm;
  const raw = (r) => ['-t', 'f32', '-r', r, '-c', pcm.channels.length];
  // sox clips above full scale, and a decode may exceed it.
  const half = { ...pcm, channels: pcm.channels.map((plane) => plane.map((x) => x / 2)) };
  const bytes = output('sox', ['-D', ...raw(pcm.rate), '-', ...raw(rate), '-', 'rate', '-v', '-L', rate], { input: interleave(half) });
  const result = fromRaw(bytes, rate, pcm.channels.length);
  for (const plane of result.channels) plane.forEach((x, i) => { plane[i] = x * 2; });
  return result;
}

/** Keeps a recording for whoever looks into a failure. */
export function writeWav(path, { rate, channels }) {
  const body = interleave({ channels });
  const head = Buffer.alloc(44);
  head.write('RIFF', 0, 'latin1');
  head.writeUInt32LE(36 + body.length, 4);
  head.write('WAVEfmt ', 8, 'latin1');
  head.writeUInt32LE(16, 16);
  head.writeUInt16LE(3, 20);
  head.writeUInt16LE(channels.length, 22);
  head.writeUInt32LE(rate, 24);
  head.writeUInt32LE(rate * channels.length * 4, 28);
  head.writeUInt16LE(channels.length * 4, 32);
  head.writeUInt16LE(32, 34);
  head.write('data', 36, 'latin1');
  head.writeUInt32LE(body.length, 40);
  writeFileSync(path, Buffer.concat([head, body]));
}
