// @ts-check
/** `StreamDecoder`: Ogg/Opus and MP3 bytes in arbitrary pieces → PCM, in pages, workers and Node. */
import { StreamDecoder as Inner } from '../dist/player/glue.js';
import { describe, domError, toBytes } from './errors.js';
import { isLoaded, load } from './wasm.js';

/** @typedef {import('./decoder.js').DecoderOptions} DecoderOptions */

export class StreamDecoder {
  /** @type {Inner | null} */
  #inner = null;
  #freed = false;

  /** @param {DecoderOptions} [options] */
  constructor(options = {}) {
    if (typeof options !== 'object' || options === null) throw new TypeError(`StreamDecoder takes an options object, got ${describe(options)}`);
    /** Resolved when `decode()` may be called. @type {Promise<void>} */
    this.ready = load(options.wasmUrl);
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
    this.#inner ??= new Inner();
    return this.#inner;
  }

  /** @param {BufferSource} bytes */
  decode(bytes) {
    const view = toBytes(bytes, 'decode');
    return this.#open('decode').decode(view);
  }

  flush() {
    return this.#open('flush').flush();
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
