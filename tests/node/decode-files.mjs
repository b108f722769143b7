// node decode-files.mjs PACKAGE_FOLDER MODULE OUT_FOLDER < LIST OF FILES
// For each file one JSON line: what our wasm decoder made of it, cut in two ways,
// after another stream and reset(), and the wasm memory used so far. The planes of
// the nth go to OUT_FOLDER/n.f32, one after the other.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { load } from './player.mjs';

const [folder, file, out] = process.argv.slice(2);
const { StreamDecoder, memory } = await load(folder, file);

const bytesOf = (planes) => Buffer.concat(planes.map((plane) => new Uint8Array(plane.buffer)));

function decode(decoder, bytes, piece) {
  const parts = [];
  let errors = 0;
  const take = (result) => {
    errors += result.errors.length;
    parts.push(result.channelData);
  };
  for (let at = 0; at < bytes.length; at += piece) take(decoder.decode(bytes.subarray(at, at + piece)));
  take(decoder.flush());
  const count = Math.max(0, ...parts.map((p) => p.length));
  const frames = parts.reduce((n, p) => n + (p[0]?.length ?? 0), 0);
  const planes = Array.from({ length: count }, () => new Float32Array(frames));
  let at = 0;
  for (const part of parts) {
    part.forEach((plane, i) => planes[i].set(plane, at));
    // Links of one channel are heard on two, as within one call.
    if (part.length === 1 && count > 1) planes[1].set(part[0], at);
    at += part[0]?.length ?? 0;
  }
  const finite = planes.every((p) => p.every(Number.isFinite));
  return { frames, errors, finite, pcm: bytesOf(planes) };
}

const decoder = new StreamDecoder();
let index = 0;
for (const path of readFileSync(0, 'utf8').split('\n').filter(Boolean)) {
  const bytes = new Uint8Array(readFileSync(path));
  decoder.reset();
  const { pcm, ...whole } = decode(decoder, bytes, bytes.length || 1);
  writeFileSync(join(out, `${index++}.f32`), pcm);
  decoder.reset();
  const cut = decode(decoder, bytes, 1021);
  console.log(JSON.stringify({ path, ...whole, same: pcm.equals(cut.pcm) && whole.errors === cut.errors, memory: memory.buffer.byteLength }));
}
