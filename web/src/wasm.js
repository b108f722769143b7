// @ts-check
/**
 * The wasm module, loaded once for the whole page or process: the build with SIMD where the engine has
 * it, the plain one elsewhere. Nothing runs at import. `player-wasm/src/shell` is the other side.
 */
import { now } from './clock.js';
import { PlayerError } from './errors.js';

/** `(func (result v128) i32.const 0 i8x16.splat i8x16.popcnt)`: valid only with SIMD. */
const SIMD_PROBE = [0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11];

/** Whether this engine runs fixed-width SIMD. */
export const hasSimd = () => WebAssembly.validate(new Uint8Array(SIMD_PROBE));

/** Where the module lies unless the host says otherwise. Written out twice so that bundlers find both files. */
const defaultUrl = () =>
  hasSimd() ? new URL('./player.wasm', import.meta.url) : new URL('./player-nosimd.wasm', import.meta.url);

/** What the module exports. @type {any} */
let wasm;
/** Bytes of the call under way. @type {Uint8Array} */
let input;
/** What the call under way has put together. @type {any[]} */
const stack = [];
/** @type {Promise<void> | null} */
let loading = null;

/** Whether `make()` may be called. */
export const isLoaded = () => wasm !== undefined;

/** A view of the module's memory. @template T @param {new (buffer: ArrayBuffer, at: number, length: number) => T} View @param {number} at @param {number} length */
const memory = (View, at, length) => new View(wasm.memory.buffer, at, length);

/** @param {number} count */
const last = (count) => stack.splice(stack.length - count);

/** What the module imports. @type {Record<string, (...args: number[]) => any>} */
const js = {
  now,
  read: (to, from, length) => memory(Uint8Array, to, length).set(input.subarray(from, from + length)),
  number: (value) => stack.push(value),
  text: (at, length) => stack.push(new TextDecoder().decode(memory(Uint8Array, at, length))),
  floats: (at, length) => stack.push(memory(Float32Array, at, length).slice()),
  list: (length) => stack.push(last(length)),
  object: (fields) => stack.push(Object.fromEntries(last(fields))),
};

/**
 * Calls a function of the module. Of bytes it is told the length and reads what it wants.
 * @param {string} name @param {any[]} args
 */
const call = (name, args) => wasm[name](...args.map((arg) => (arg?.buffer ? (input = arg).length : arg))) ?? stack.pop();

/**
 * One of the module's objects: functions called `KIND_NAME` are its methods. `free()` ends it.
 * @param {string} kind @param {any[]} args @returns {any}
 */
export function make(kind, ...args) {
  const self = call(`${kind}_new`, args);
  /** @type {Record<string, (...args: any[]) => any>} */
  const methods = {};
  for (const name in wasm) {
    const [of, method] = name.split('_');
    if (of === kind) methods[method] = (...rest) => call(name, [self, ...rest]);
  }
  return methods;
}

/** @param {WebAssembly.Module} module */
export function start(module) {
  wasm = new WebAssembly.Instance(module, { js }).exports;
  wasm.start();
}

/**
 * Loads the module; at most once, and again only after a failure.
 * @param {string | URL} [url]
 * @param {(url: string | URL) => void} [atOnce] Starts it where that takes no waiting.
 * @returns {Promise<void>}
 */
export function load(url, atOnce) {
  loading ??= loaded(url, atOnce).catch((cause) => {
    loading = null;
    throw cause instanceof PlayerError ? cause : new PlayerError('wasm', `cannot load ${url ?? 'player.wasm'} (${cause?.message ?? cause})`, { cause });
  });
  return loading;
}

/** @param {string | URL} [url] @param {(url: string | URL) => void} [atOnce] */
async function loaded(url = defaultUrl(), atOnce) {
  atOnce?.(url);
  if (wasm) return;
  const response = await fetch(url);
  if (!response.ok) throw new PlayerError('wasm', `cannot load ${url}: the server answered ${response.status}`);
  // Servers that send another media type make compileStreaming throw; the bytes are the same.
  start(response.headers.get('content-type') === 'application/wasm' ? await WebAssembly.compileStreaming(response) : await WebAssembly.compile(await response.arrayBuffer()));
}
