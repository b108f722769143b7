// @ts-check
/** What can be played, and what this browser brings. */
import { hasMemory, hasWebAudio, hasWorklet } from './output.js';
import { hasSimd } from './wasm.js';

/** @param {string} type @returns {'' | 'maybe' | 'probably'} */
export function canPlayType(type) {
  const text = String(type).toLowerCase();
  const kind = /^\s*(?:audio|application)\/(?:x-)?(mp3|mpeg3?|ogg|opus)\s*(?:;|$)/.exec(text)?.[1];
  const codecs = /codecs\s*=\s*"?([^";]*)/.exec(text)?.[1].trim();
  const own = kind?.[0] === 'm' ? 'mp3' : 'opus';
  if (!kind || (codecs && codecs !== own)) return '';
  return codecs || own === 'mp3' ? 'probably' : 'maybe';
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
