// @ts-check

/** Commands that may wait for the reader: far more than the horizon has blocks. */
export const COMMANDS = 4096;
const HEAD = 32;
const BODY = HEAD + COMMANDS * 32;

/** A block of PCM follows; what begins at or after a frame is dropped. */
export const BLOCK = 0;
export const CANCEL = 1;
/** Bits of a mark: what comes next does not continue this; what was handed out ends as it should. */
export const ANEW = 2;
export const DONE = 1;

/**
 * What writer and reader share. `counts`: commands written, commands read, quanta rendered, frames by
 * which blocks were late in all, those of them amid a programme. `commands`: kind, frame, length and place of each. A block lies whole
 * in `planes`, after the one before it or, where that leaves no room, at their beginning.
 * @typedef {[counts: Int32Array, commands: Float64Array, ...planes: Float32Array[]]} Memory
 */

/** @param {number} channels @param {number} frames @returns {Memory} */
export function memory(channels, frames) {
  const buffer = new SharedArrayBuffer(BODY + 4 * channels * frames);
  return [
    new Int32Array(buffer, 0, HEAD / 4), new Float64Array(buffer, HEAD, COMMANDS * 4),
    ...Array.from({ length: channels }, (_, c) => new Float32Array(buffer, BODY + 4 * c * frames, frames)),
  ];
}
