// @ts-check
/** How much `append()` may still send to the engine. */
import { domError } from './errors.js';

/** Most bytes appended that the engine has not taken. */
const LIMIT = 64 << 20;
/** Bytes on their way to the engine for which `append()` does not wait. */
const WINDOW = 64 << 10;

export class Credit {
  #sent = 0;
  #taken = 0;
  /** Those who wait until so much is taken. @type {{at: number, resolve: (_?: undefined) => void, reject: (e: unknown) => void}[]} */
  #waiting = [];

  /** Bytes are to be sent: how much has to be taken before more may. @param {number} length */
  use(length) {
    const held = this.#sent - this.#taken;
    if (held + length > LIMIT) throw domError(`append() holds ${held} bytes already: await each append before the next`, 'QuotaExceededError');
    this.#sent += length;
    return this.#sent - WINDOW;
  }

  /** @param {number} at @returns {Promise<void> | undefined} */
  until(at) {
    return this.#taken < at ? new Promise((resolve, reject) => void this.#waiting.push({ at, resolve, reject })) : undefined;
  }

  /** So much has been taken in all. @param {number} taken */
  taken(taken) {
    this.#taken = taken;
    this.#waiting = this.#waiting.filter(({ at, resolve }) => at > taken || resolve());
  }

  /** Lets all go on. @param {unknown} [failure] */
  release(failure) {
    for (const { resolve, reject } of this.#waiting.splice(0)) failure ? reject(failure) : resolve();
  }
}
