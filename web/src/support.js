// @ts-check
/** What can be played, and what this browser brings. */
import { hasMemory, hasWebAudio, hasWorklet } from './output.js';
import { hasSimd } from './wasm.js';

/** @param {string} type @returns {'' | 'maybe' | 'probably'} */
export function canPlayType(type) {
  const text = String(type).toLowerCase().trim();
  const [kind] = text.split(/[\s;]/);
  const codecs = /codecs\s*=\s*"?([^";]*)/.exec(text)?.[1].trim();
  if (/^audio\/(mpeg|mp3|x-mp3|mpeg3)$/.test(kind)) return !codecs || codecs === 'mp3' ? 'probably' : '';
  if (/^((audio|application)\/(x-)?ogg|audio\/opus)$/.test(kind)) return codecs ? (codecs === 'opus' ? 'probably' : '') : 'maybe';
  return '';
}

export function isSupported() {
  const webAudio = hasWebAudio();
  const webAssembly = typeof WebAssembly !== 'undefined';
  return {
    supported: webAudio && webAssembly, webAudio, webAssembly, simd: webAssembly && hasSimd(),
    webSocket: typeof WebSocket !== 'undefined',
    fetchStreams: typeof Response !== 'undefined' && 'body' in Response.prototype,
    audioWorklet: hasWorklet(),
    sharedMemory: hasMemory(),
  };
}
