// @ts-check
/** `StreamDecoder`: Ogg/Opus and MP3 bytes in arbitrary pieces → PCM, in pages, workers and Node. */
import { describe, domError, toBytes } from './errors.js';
import { isLoaded, load, make, start } from './wasm.js';

/** @typedef {import('./decoder.js').DecoderOptions} DecoderOptions */

/** Node's `fs`, without an import that bundlers for browsers would trip over. */
function nodeFs() {
  const host = /** @type {any} */ (globalThis).process;
  return /** @type {typeof import('node:fs') | undefined} */ (host?.versions?.node ? host.getBuiltinModule?.('node:fs') : undefined);
}

/**
 * Reads and compiles at once where the module is a file (Node): a file address or a path.
 * @param {string | URL} url
 */
function atOnce(url) {
  const where = String(url);
  // Bundlers take any other `new URL(…, import.meta.url)` than the loader's two for a file they cannot find.
  const fs = /^(file:|(?![\w+.-]{2,}:))/.test(where) ? nodeFs() : undefined;
  if (fs) start(new WebAssembly.Module(fs.readFileSync(where.startsWith('file:') ? new URL(where) : where)));
}

/** Joins the stages. @param {import('./engine.js').Stages} result @returns {import('./decoder.js').Decoded} */
function joined({ stages, ...rest }) {
  if (stages.length < 2) return { channelData: stages[0] ?? [], ...rest };
  // Later stages have no fewer channels; what was mono is heard on both sides.
  const channelData = /** @type {Float32Array[]} */ (stages.at(-1)).map((_, c) => {
    const whole = new Float32Array(rest.samplesDecoded);
    let at = 0;
    for (const planes of stages) {
      const plane = planes[c] ?? (planes.length === 1 && c === 1 ? planes[0] : undefined);
      if (plane) whole.set(plane, at);
      at += planes[0].length;
    }
    return whole;
  });
  return { channelData, ...rest };
}

export class StreamDecoder {
  /** @type {import('./engine.js').Decoder | null} */
  #inner = null;
  #freed = false;

  /** @param {DecoderOptions} [options] */
  constructor(options = {}) {
    if (typeof options !== 'object' || options === null) throw new TypeError(`StreamDecoder takes an options object, got ${describe(options)}`);
    /** Resolved when `decode()` may be called. @type {Promise<void>} */
    this.ready = load(options.wasmUrl, atOnce);
    // Whoever never looks at it still learns of a failure from decode().
    this.ready.catch(() => {});
  }

  /** @param {DecoderOptions} [options] */
  static async create(options) {
    const decoder = new StreamDecoder(options);
    await decoder.ready;
    return decoder;
  }

  /** @param {string} call */
  #open(call) {
    if (this.#freed) throw domError(`${call}() after free(): create another StreamDecoder`, 'InvalidStateError');
    if (!isLoaded()) throw domError(`${call}() before the wasm module is loaded: await decoder.ready or use StreamDecoder.create()`, 'InvalidStateError');
    return (this.#inner ??= /** @type {import('./engine.js').Decoder} */ (make('decoder')));
  }

  /** @param {BufferSource} bytes */
  decode(bytes) {
    const view = toBytes(bytes, 'decode');
    return joined(this.#open('decode').decode(view));
  }

  flush() {
    return joined(this.#open('flush').flush());
  }

  reset() {
    this.#open('reset').reset();
  }

  free() {
    this.#freed = true;
    this.#inner?.free();
    this.#inner = null;
  }
}
