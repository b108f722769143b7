// @ts-check
/** When to try again. Pure: the random source is an argument and no clock is read. */
import { amount } from './errors.js';

/** Shorter waits would hammer a relay that is restarting. */
const FLOOR_MS = 50;

/** Exponential back-off, capped, half of each delay random so that listeners do not return as one herd. */
export class Backoff {
  #base;
  #max;
  #limit;
  #random;
  /** Attempts made since the last success. */
  attempts = 0;

  /**
   * @param {import('./index.js').ReconnectOptions} [options]
   * @param {() => number} [random]
   */
  constructor({ baseDelay = 500, maxDelay = 15_000, maxAttempts = Infinity } = {}, random = Math.random) {
    for (const [name, value] of Object.entries({ baseDelay, maxDelay, maxAttempts })) amount(value, `reconnect.${name}`);
    this.#base = baseDelay;
    this.#max = maxDelay;
    this.#limit = maxAttempts;
    this.#random = random;
  }

  /**
   * Milliseconds to wait before the next attempt, or null when none is left.
   * A relay that names a delay (`goaway`) is obeyed: it has spread its listeners already.
   * @param {number} [asked]
   * @returns {number | null}
   */
  next(asked) {
    if (this.attempts >= this.#limit) return null;
    const cap = Math.min(this.#max, this.#base * 2 ** Math.min(this.attempts, 30));
    this.attempts += 1;
    return asked ?? Math.max(FLOOR_MS, cap * (0.5 + 0.5 * this.#random()));
  }

  /** Call when media flows again: an accepted socket alone proves nothing. */
  reset() {
    this.attempts = 0;
  }
}
