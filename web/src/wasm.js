// @ts-check
/**
 * Loads the wasm module once for the whole page or process: the build with
 * SIMD where the engine has it, the plain one elsewhere. Nothing runs at import.
 */
import { initSync } from '../dist/player/glue.js';
import { PlayerError } from './errors.js';

/** `(func (result v128) i32.const 0 i8x16.splat i8x16.popcnt)`: valid only with SIMD. */
const SIMD_PROBE = [0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11];

/** Whether this engine runs fixed-width SIMD. */
export const hasSimd = () => WebAssembly.validate(new Uint8Array(SIMD_PROBE));

/** Where the module lies unless the host says otherwise. Written out twice so that bundlers find both files. */
const defaultUrl = () =>
  hasSimd() ? new URL('./player.wasm', import.meta.url) : new URL('./player-nosimd.wasm', import.meta.url);

let initialised = false;
/** @type {Promise<void> | null} */
let loading = null;

/** Whether decode calls may be made. */
export const isLoaded = () => initialised;

/** @param {WebAssembly.Module} module */
function start(module) {
  if (!initialised) initSync({ module });
  initialised = true;
}

/** Node's `fs`, without an import that bundlers for browsers would trip over. */
function nodeFs() {
  const host = /** @type {any} */ (globalThis).process;
  return /** @type {typeof import('node:fs') | undefined} */ (host?.versions?.node ? host.getBuiltinModule?.('node:fs') : undefined);
}

/**
 * Reads and compiles at once where the module is a file (Node): a file address or a path.
 * @param {string | URL} url
 */
function loadSync(url) {
  const where = String(url);
  // Bundlers take any other `new URL(…, import.meta.url)` than the two above for a file they cannot find.
  const fs = /^(file:|(?![\w+.-]{2,}:))/.test(where) ? nodeFs() : undefined;
  if (fs) start(new WebAssembly.Module(fs.readFileSync(where.startsWith('file:') ? new URL(where) : where)));
  return initialised;
}

/**
 * Loads the module; at most once, and again only after a failure. In Node it
 * is there when this returns.
 * @param {string | URL} [url]
 * @returns {Promise<void>}
 */
export function load(url) {
  loading ??= fetched(url).catch((cause) => {
    loading = null;
    throw cause instanceof PlayerError ? cause : new PlayerError('wasm', `cannot load ${url ?? 'player.wasm'} (${cause?.message ?? cause})`, { cause });
  });
  return loading;
}

/** @param {string | URL} [url] */
async function fetched(url = defaultUrl()) {
  if (!initialised && !loadSync(url)) start(await compile(url));
}

/** @param {string | URL} url */
async function compile(url) {
  const response = await fetch(url);
  if (!response.ok) throw new PlayerError('wasm', `cannot load ${url}: the server answered ${response.status}`);
  // Servers that send another media type make compileStreaming throw; the bytes are the same.
  return response.headers.get('content-type') === 'application/wasm' ? WebAssembly.compileStreaming(response) : WebAssembly.compile(await response.arrayBuffer());
}
