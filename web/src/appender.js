// @ts-check
/** The push API's queue: what `append()` was given and the engine has no room for yet. */

/** @typedef {import('./engine.js').Engine} Engine */

export class Appender {
  /** Null is the end of a stream. @type {(Uint8Array | null)[]} */
  #queue = [];
  /** Those who wait for room. @type {(() => void)[]} */
  #waiting = [];
  received = 0;
  /** Bytes given to the engine, or dropped. */
  taken = 0;

  /** @returns {Promise<void>} Resolved when the engine has room. */
  room() {
    return new Promise((resolve) => void this.#waiting.push(resolve));
  }

  /** @param {Uint8Array} bytes */
  push(bytes) {
    this.received += bytes.length;
    this.#queue.push(bytes);
  }

  end() {
    this.#queue.push(null);
  }

  /** Gives the engine what it has room for. @param {Engine} engine @param {number} now */
  drain(engine, now) {
    while (this.#queue.length && !engine.full()) {
      const bytes = this.#queue.shift();
      if (bytes) {
        this.taken += bytes.length;
        engine.pushBytes(now, bytes);
      } else engine.endOfStream(now);
    }
    if (!engine.full()) for (const resolve of this.#waiting.splice(0)) resolve();
  }

  /** Forgets what is held; nobody is left waiting. */
  drop() {
    this.taken = this.received;
    this.#queue = [];
    for (const resolve of this.#waiting.splice(0)) resolve();
  }
}
