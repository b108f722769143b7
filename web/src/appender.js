// @ts-check
/** The push API's queue: what `append()` was given and the engine has no room for yet. */
import { domError } from './errors.js';

/** Most bytes held for an engine that is full. */
const LIMIT = 64 << 20;

/** @typedef {import('../dist/player/glue.js').Engine} Engine */

export class Appender {
  /** @type {{bytes: Uint8Array, taken: () => void}[]} */
  #queue = [];
  #queued = 0;
  /** Those whose bytes were taken and who wait for room. @type {(() => void)[]} */
  #waiting = [];
  bytesReceived = 0;
  /** Whether `endOfStream()` was called and not yet passed on. */
  ending = false;

  /** @returns {Promise<void>} Resolved when the engine has room, or at once. @param {Engine} engine */
  room(engine) {
    return engine.full ? new Promise((resolve) => void this.#waiting.push(resolve)) : Promise.resolve();
  }

  /** @param {Uint8Array} bytes @returns {Promise<void>} Resolved when there is room for more. */
  push(bytes) {
    if (this.#queued + bytes.length > LIMIT) {
      return Promise.reject(domError(`append() holds ${this.#queued} bytes already: await each append before the next`, 'QuotaExceededError'));
    }
    this.#queued += bytes.length;
    this.bytesReceived += bytes.length;
    // The engine takes it later, the caller may reuse its buffer now.
    const copy = bytes.slice();
    return new Promise((resolve) => void this.#queue.push({ bytes: copy, taken: resolve }));
  }

  /** Gives the engine what it has room for. @param {Engine} engine @param {number} now */
  drain(engine, now) {
    while (!engine.full && this.#queue.length) {
      const { bytes, taken } = /** @type {{bytes: Uint8Array, taken: () => void}} */ (this.#queue.shift());
      this.#queued -= bytes.length;
      engine.pushBytes(now, bytes);
      void this.room(engine).then(taken);
    }
    if (!engine.full) for (const resolve of this.#waiting.splice(0)) resolve();
    if (this.ending && !this.#queue.length) {
      this.ending = false;
      engine.endOfStream(now);
    }
  }

  /** Forgets what is held; nobody is left waiting. */
  drop() {
    this.ending = false;
    this.#queued = 0;
    for (const { taken } of this.#queue.splice(0)) taken();
    for (const resolve of this.#waiting.splice(0)) resolve();
  }
}
