// @ts-check
/** What a `Player` is given, checked. */
import { amount, wrong } from './errors.js';
import { Backoff } from './reconnect.js';

/** @typedef {import('./index.js').PlayerOptions} PlayerOptions */

/** What each takes; the first by default. */
const CHOICES = { mode: ['live', 'complete'], output: ['auto', 'worklet', 'buffers'], thread: ['auto', 'worker', 'main'], preload: ['none', 'auto'] };

/** @param {PlayerOptions['latency']} latency @returns {[min: number, max: number]} */
function bounds(latency = 'auto') {
  if (latency === 'auto') return [0, Infinity];
  const { min = 0, max = Infinity } = typeof latency === 'object' && latency || { min: latency, max: latency };
  if (!(Number.isFinite(min) && min >= 0 && max >= min)) {
    throw wrong("latency takes 'auto', seconds, or {min, max} with 0 <= min <= max", latency);
  }
  return [min, max];
}

/** With what was left out; says here what is wrong with them rather than later. @param {PlayerOptions} options */
export function checked(options) {
  const { mode = 'live', stretch = 0, reconnect, preload, wasmUrl } = options;
  for (const [name, choices] of Object.entries(CHOICES)) {
    const choice = options[/** @type {'mode'} */ (name)];
    if (choice !== undefined && !choices.includes(choice)) throw wrong(`${name} takes '${choices.join("' or '")}'`, choice);
  }
  amount(stretch, 'stretch', 0.05);
  if (reconnect !== false) new Backoff(reconnect);
  return { mode, stretch, reconnect, preload, wasmUrl, latency: bounds(options.latency) };
}

/** A number as HTML's attributes take it. @param {unknown} value @param {string} [what] Says which. */
export function finite(value, what = 'a position takes seconds') {
  const number = Number(value);
  if (!Number.isFinite(number)) throw wrong(what, value);
  return number;
}

/** As the page means it. @param {string | URL} url */
export const absolute = (url) => new URL(url, globalThis.document?.baseURI).href;

/** A `src` in full. @param {string} url */
export function address(url) {
  let full = '';
  try {
    full = absolute(url);
  } catch { /* said below */ }
  if (!/^(ws|http)s?:/.test(full)) throw wrong('src takes a ws, wss, http or https address or null', url);
  return full;
}

/** Whether a `srcObject` is a socket. @param {unknown} source */
export function isSocket(source) {
  const socket = typeof WebSocket !== 'undefined' && source instanceof WebSocket;
  if (!socket && !(source instanceof ReadableStream)) {
    throw wrong('srcObject takes a WebSocket, a ReadableStream of bytes or null', source);
  }
  return socket;
}
