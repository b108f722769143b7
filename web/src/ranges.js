// @ts-check
import { domError } from './errors.js';

/** A `TimeRanges` of our own: the platform's has no constructor. @param {[start: number, end: number][]} list @returns {TimeRanges} */
export function ranges(list) {
  const some = list.filter(([start, end]) => end > start);
  const { length } = some;
  /** @param {0 | 1} side @returns {(index: number) => number} */
  const bound = (side) => (index) => {
    if (!some[index]) throw domError(`range ${index} of ${length}; check length first`, 'IndexSizeError');
    return some[index][side];
  };
  return { length, start: bound(0), end: bound(1) };
}
