// @ts-check
/** What a `Player` is given, checked. */
import { describe } from './errors.js';
import { Backoff } from './reconnect.js';

/** @typedef {import('./index.js').PlayerOptions} PlayerOptions */

/** @param {PlayerOptions['latency']} latency @returns {[min: number, max: number]} */
function bounds(latency = 'auto') {
  if (latency === 'auto') return [0, Infinity];
  const { min = 0, max = Infinity } = typeof latency === 'number' ? { min: latency, max: latency } : latency;
  if (typeof latency === 'string' || !(min >= 0 && max >= min)) {
    throw new TypeError(`latency takes 'auto', seconds, or {min, max} with 0 <= min <= max, got ${JSON.stringify(latency)}`);
  }
  return [min, max];
}

/** With what was left out; says here what is wrong with them rather than later. @param {PlayerOptions} options */
export function checked(options) {
  const { mode = 'live', stretch = 0, reconnect, preload, wasmUrl } = options;
  if (mode !== 'live' && mode !== 'complete') throw new TypeError(`mode takes 'live' or 'complete', got ${describe(mode)}`);
  if (!(stretch >= 0 && stretch <= 0.05)) throw new TypeError(`stretch takes 0 to 0.05, got ${describe(stretch)}`);
  if (reconnect !== false) new Backoff(reconnect);
  return { mode, stretch, reconnect, preload, wasmUrl, latency: bounds(options.latency) };
}

/** As the page means it. @param {string | URL} url */
export const absolute = (url) => new URL(url, globalThis.document?.baseURI).href;

/** A `src` in full. @param {string} url */
export function address(url) {
  let full = '';
  try {
    full = absolute(url);
  } catch { /* said below */ }
  if (!/^(ws|http)s?:/.test(full)) throw new TypeError(`src takes a ws, wss, http or https address or null, got ${describe(url)}`);
  return full;
}

/** Whether a `srcObject` is a socket. @param {unknown} source */
export function isSocket(source) {
  const socket = typeof WebSocket !== 'undefined' && source instanceof WebSocket;
  if (!socket && !(source instanceof ReadableStream)) {
    throw new TypeError(`srcObject takes a WebSocket, a ReadableStream of bytes or null, got ${describe(source)}`);
  }
  return socket;
}
