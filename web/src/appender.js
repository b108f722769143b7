// @ts-check
/** The push API's queue: what `append()` was given and the engine has no room for yet. */

/** @typedef {import('./engine.js').Engine} Engine */

export class Appender {
  /** @type {Uint8Array[]} */
  #queue = [];
  /** Those who wait for room. @type {(() => void)[]} */
  #waiting = [];
  received = 0;
  /** Bytes given to the engine, or dropped. */
  taken = 0;
  /** Whether `endOfStream()` was called and not yet passed on. */
  ending = false;

  /** @returns {Promise<void>} Resolved when the engine has room. */
  room() {
    return new Promise((resolve) => void this.#waiting.push(resolve));
  }

  /** @param {Uint8Array} bytes */
  push(bytes) {
    this.received += bytes.length;
    this.#queue.push(bytes);
  }

  /** Gives the engine what it has room for. @param {Engine} engine @param {number} now */
  drain(engine, now) {
    for (let bytes; !engine.full() && (bytes = this.#queue.shift());) {
      this.taken += bytes.length;
      engine.pushBytes(now, bytes);
    }
    if (!engine.full()) for (const resolve of this.#waiting.splice(0)) resolve();
    if (this.ending && !this.#queue.length) {
      this.ending = false;
      engine.endOfStream(now);
    }
  }

  /** Forgets what is held; nobody is left waiting. */
  drop() {
    this.ending = false;
    this.taken = this.received;
    this.#queue = [];
    for (const resolve of this.#waiting.splice(0)) resolve();
  }
}
