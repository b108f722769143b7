// @ts-check

/** Milliseconds that never go back. */
export const now = () => performance.now();

/**
 * How far the audio thread may be believed to be ahead of its last reading, milliseconds. Firefox tells
 * the main thread late, the later the busier that is, and a block handed out for a moment gone by is a seam.
 */
const MAX_LAG = 250;
/** How long an observation counts, milliseconds. */
const WINDOW = 1000;
/** What a device takes before it starts, milliseconds: a context says `running` up to 200 ms earlier, and its clock stands there. */
const FIRST = 15;

/**
 * Where the audio thread is, which what can be read of its clock may be behind: the greatest
 * distance seen lately between that clock and the wall clock tells.
 */
export class Clock {
  #since = 0;
  /** Greatest reading less wall clock in this window and the one before, ms. */
  #newest = -Infinity;
  #before = -Infinity;
  /** Where it was last seen to stand, ms. */
  #stood = -Infinity;

  /** @param {number} ms The audio clock as read now. @param {boolean} running */
  at(ms, running) {
    const wall = now();
    if (!running) this.#stood = ms;
    if (ms < this.#stood + FIRST) {
      this.#newest = this.#before = -Infinity;
      return ms;
    }
    if (wall - this.#since > WINDOW) {
      this.#before = wall - this.#since > 2 * WINDOW ? -Infinity : this.#newest;
      this.#newest = -Infinity;
      this.#since = wall;
    }
    this.#newest = Math.max(this.#newest, ms - wall);
    return Math.min(wall + Math.max(this.#newest, this.#before), ms + MAX_LAG);
  }
}
