// @ts-check
import { domError } from './errors.js';

/** A `TimeRanges` of our own: the platform's has no constructor. */
export class Ranges {
  #list;

  /** @param {[number, number][]} list */
  constructor(list) {
    this.#list = list.filter(([start, end]) => end > start);
    this.length = this.#list.length;
  }

  /** @param {number} index */
  start(index) {
    return this.#at(index)[0];
  }

  /** @param {number} index */
  end(index) {
    return this.#at(index)[1];
  }

  /** @param {number} index */
  #at(index) {
    const range = this.#list[index];
    if (!range) throw domError(`range ${index} of ${this.length}; check length first`, 'IndexSizeError');
    return range;
  }
}
