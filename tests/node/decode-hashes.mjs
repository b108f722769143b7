// node decode-hashes.mjs PACKAGE_FOLDER MODULE < LIST OF FILES
// For each file one JSON line: what our wasm decoder made of it, cut in two ways,
// after another stream and reset(), and the wasm memory used so far.
import { readFileSync } from 'node:fs';
import { load } from './player.mjs';

const [folder, file] = process.argv.slice(2);
const { StreamDecoder, memory } = await load(folder, file);

/** FNV-1a, 64 bits, over the bytes of all planes, in two 32-bit halves. */
function hash(planes) {
  let low = 0x84222325;
  let high = 0xcbf29ce4;
  for (const plane of planes) {
    const bytes = new Uint8Array(plane.buffer, plane.byteOffset, plane.byteLength);
    for (let i = 0; i < bytes.length; i++) {
      low = (low ^ bytes[i]) >>> 0;
      // × 0x100000001b3 = × 0x1b3 + << 40
      const product = low * 0x1b3;
      const carry = Math.floor(product / 4294967296);
      high = (Math.imul(high, 0x1b3) + carry + (low << 8)) >>> 0;
      low = product >>> 0;
    }
  }
  return high.toString(16).padStart(8, '0') + low.toString(16).padStart(8, '0');
}

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
  return { frames, hash: hash(planes), errors, finite };
}

const decoder = new StreamDecoder();
for (const path of readFileSync(0, 'utf8').split('\n').filter(Boolean)) {
  const bytes = new Uint8Array(readFileSync(path));
  decoder.reset();
  const whole = decode(decoder, bytes, bytes.length || 1);
  decoder.reset();
  const cut = decode(decoder, bytes, 1021);
  console.log(JSON.stringify({ path, ...whole, same: whole.hash === cut.hash && whole.errors === cut.errors, memory: memory.buffer.byteLength }));
}
