// @ts-check

/** Commands that may wait for the reader: far more than the horizon has blocks. */
export const COMMANDS = 4096;
const HEAD = 32;
const BODY = HEAD + COMMANDS * 24;

/** A block of PCM follows; what begins at or after a frame is dropped. */
export const BLOCK = 0;
export const CANCEL = 1;
/** Bits of a mark: what comes next does not continue this; what was handed out ends as it should. */
export const ANEW = 2;
export const DONE = 1;

/** Bytes of a ring. @param {number} channels @param {number} frames */
export const sizeOf = (channels, frames) => BODY + 4 * channels * frames;

/**
 * What writer and reader share. `counts`: commands written, commands read, quanta rendered, frames by
 * which blocks were late in all, those of them amid a programme. `commands`: kind, frame and length of each. A block lies whole in `planes`, after the one
 * before it or, where that leaves no room, at their beginning.
 */
export class Memory {
  #at = 0;

  /** @param {SharedArrayBuffer} buffer @param {number} channels */
  constructor(buffer, channels) {
    this.counts = new Int32Array(buffer, 0, HEAD / 4);
    this.commands = new Float64Array(buffer, HEAD, COMMANDS * 3);
    const frames = (buffer.byteLength - BODY) / 4 / channels;
    this.planes = Array.from({ length: channels }, (_, c) => new Float32Array(buffer, BODY + 4 * c * frames, frames));
  }

  /** The next block's place. @param {number} frames */
  take(frames) {
    const from = this.#at + frames > this.planes[0].length ? 0 : this.#at;
    this.#at = from + frames;
    return this.planes.map((plane) => plane.subarray(from, from + frames));
  }
}
