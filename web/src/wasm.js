// @ts-check
/**
 * The wasm module, loaded once for the whole page or process: the build with SIMD where the engine has
 * it, the plain one elsewhere. Nothing runs at import. `player-wasm/src/shell` is the other side.
 */
import { failure } from './errors.js';

/** `(type (func (result v128)))`: valid only with SIMD. */
const SIMD_PROBE = [0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123];

/** Whether this engine runs fixed-width SIMD. */
export const hasSimd = () => WebAssembly.validate(new Uint8Array(SIMD_PROBE));

/** Where the module lies unless the host says otherwise. Written out twice so that bundlers find both files. */
const defaultUrl = () =>
  hasSimd() ? new URL('./player.wasm', import.meta.url) : new URL('./player-nosimd.wasm', import.meta.url);

/** What the module exports. @type {any} */
let wasm;
/** Of the module's memory. @param {number} at @param {number} length */
const bytes = (at, length) => new Uint8Array(wasm.memory.buffer, at, length);
/** Each with a decoder of its own: Safari's last for 2 GiB. @param {number} at @param {number} length */
const text = (at, length) => new TextDecoder().decode(bytes(at, length));

/** What the module imports: `xtask/wasm-tools` gives these names to what wasm-bindgen knows by longer ones. */
const js = {
  array: () => [],
  object: () => ({}),
  number: (/** @type {number} */ value) => value,
  text,
  floats: (/** @type {number} */ at, /** @type {number} */ length) => new Float32Array(wasm.memory.buffer, at, length).slice(),
  now: (/** @type {Performance} */ clock) => clock.now(),
  length: (/** @type {Uint8Array} */ of) => of.length,
  part: (/** @type {Uint8Array} */ of, /** @type {number} */ from, /** @type {number} */ to) => of.subarray(from, to),
  copy: (/** @type {number} */ at, /** @type {number} */ length, /** @type {Uint8Array} */ from) => bytes(at, length).set(from),
  push: (/** @type {unknown[]} */ to, /** @type {unknown} */ value) => to.push(value),
  set(/** @type {any} */ on, /** @type {number} */ at, /** @type {number} */ length, /** @type {unknown} */ value) {
    on[text(at, length)] = value;
  },
  /** Fills the places that wasm-bindgen keeps for constants. */
  constants() {
    const table = wasm.__wbindgen_externrefs;
    [undefined, null, true, false].forEach((value, index) => table.set(1024 + index, value));
    table.set(0);
  },
};
/** @type {Promise<void> | undefined} */
let loading;

/** Whether `make()` may be called. */
export const isLoaded = () => wasm !== undefined;

/**
 * One of the module's objects: functions called `KIND_NAME` are its methods. `free()` ends it.
 * @param {string} kind @param {any[]} args @returns {any}
 */
export function make(kind, ...args) {
  const self = wasm[`${kind}_new`](...args);
  return new Proxy({}, { get: (_, method) => wasm[`${kind}_${/** @type {string} */ (method)}`].bind(null, self) });
}

/** @param {WebAssembly.Module} module */
export function start(module) {
  wasm = new WebAssembly.Instance(module, { js }).exports;
  wasm.__wbindgen_start();
}

/**
 * Loads the module; at most once, and again only after a failure.
 * @param {string | URL} [url]
 * @param {(url: string | URL) => void} [atOnce] Starts it where that takes no waiting.
 * @returns {Promise<void>}
 */
export function load(url, atOnce) {
  loading ??= loaded(url, atOnce).catch((cause) => {
    loading = undefined;
    throw failure(cause, 'wasm', `cannot load ${url ?? 'player.wasm'}`);
  });
  return loading;
}

/** @param {string | URL} [url] @param {(url: string | URL) => void} [atOnce] */
async function loaded(url = defaultUrl(), atOnce) {
  atOnce?.(url);
  if (wasm) return;
  const response = await fetch(url);
  if (!response.ok) throw new Error(`the server answered ${response.status}`);
  // Servers that send another media type make compileStreaming throw; the bytes are the same.
  start(response.headers.get('content-type') === 'application/wasm' ? await WebAssembly.compileStreaming(response) : await WebAssembly.compile(await response.arrayBuffer()));
}
