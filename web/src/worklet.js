// @ts-check
/// <reference path="./worklet-scope.d.ts" />
/**
 * The audio thread's part: plays blocks at their frames and nothing else. Where a block comes too
 * late its clock waits, so that nothing is lost, and the wait is counted as starvation.
 */
import { BLOCK, CANCEL, COMMANDS, DONE, ANEW } from './memory.js';

/** Quanta between two reports through the port. */
const REPORT_EVERY = 8;
/** Length of a fade where silence could not be avoided, frames. */
const FADE = Math.round(sampleRate * 0.003);
/** How loud so many frames into one. @param {number} frames */
const gain = (frames) => Math.sin(Math.PI / 2 * frames / FADE) ** 2;

/** @typedef {{at: number, length: number, planes: Float32Array[], begun: boolean, mark: number}} Block */

class Reader extends AudioWorkletProcessor {
  /** @type {Block[]} */
  #queue = [];
  /** What was played last. @type {Block} */
  #last = { at: 0, length: 0, planes: [], begun: true, mark: ANEW | DONE };
  /** Frames of silence since, as far as they matter, and frames of the fade after it. */
  #quiet = 0;
  #risen = FADE;
  /** Frames by which blocks were late in all. */
  #shift = 0;
  /** Those of them amid a programme. */
  #starved = 0;
  /** The frame to be rendered next, on the blocks' clock. */
  #next = 0;
  #read = 0;
  #quanta = 0;
  #closed = false;
  /** @type {MessagePort | null} */
  #source = null;

  #memory;

  /** @param {{processorOptions: {memory: import('./memory.js').Memory | null}}} options */
  constructor({ processorOptions: { memory } }) {
    super();
    this.#memory = memory;
    this.port.onmessage = ({ data: source }) => {
      this.#closed = !source;
      this.#source = source;
      if (source) source.onmessage = (/** @type {MessageEvent} */ { data: [kind, at, planes] }) => this.#take(kind, at, planes);
    };
  }

  /** @param {number} kind @param {number} at @param {Float32Array[]} planes */
  #take(kind, at, planes) {
    const queue = this.#queue;
    if (kind === BLOCK) queue.push({ at, length: planes[0].length, planes, begun: false, mark: 0 });
    else if (kind === CANCEL) {
      this.#queue = queue.filter((block) => block.at < at || block.begun);
      const block = this.#queue.at(-1);
      if (block) {
        block.length = Math.min(block.length, Math.max(at, this.#next) - block.at);
        block.mark = 0;
      }
    } else (queue.at(-1) ?? this.#last).mark |= kind;
  }

  #poll() {
    const memory = this.#memory;
    if (!memory) return;
    const [counts, commands, ...planes] = memory;
    const written = Atomics.load(counts, 0);
    while (this.#read < written) {
      const [kind, at, frames, place] = commands.subarray(this.#read % COMMANDS * 4);
      this.#take(kind, at, planes.map((plane) => plane.subarray(place, place + frames)));
      this.#read += 1;
    }
    Atomics.store(counts, 1, this.#read);
  }

  /**
   * Silence; where sound broke off, its mirror image fades out instead of a click.
   * @param {Float32Array[]} out @param {number} from @param {number} to
   */
  #rest(out, from, to) {
    const { planes, length, mark } = this.#last;
    for (; from < to && this.#quiet < FADE; from += 1) {
      this.#quiet += 1;
      if (mark & DONE || !length) continue;
      planes.forEach((plane, c) => {
        out[c][from] = (1 - gain(this.#quiet)) * (2 * plane[length - 1] - plane[Math.max(0, length - 1 - this.#quiet)]);
      });
    }
  }

  /** @param {Float32Array[][]} _ @param {Float32Array[][]} outputs */
  process(_, [out]) {
    this.#poll();
    const frames = out[0].length;
    for (let i = 0; i < frames;) {
      const block = this.#queue[0];
      const at = currentFrame + i - this.#shift - (block?.at ?? 0);
      if (!block || at < 0) {
        const to = block ? Math.min(frames, i - at) : frames;
        this.#rest(out, i, to);
        i = to;
        continue;
      }
      if (!block.begun) {
        block.begun = true;
        // Late: our clock waited for it.
        this.#shift += at;
        if (block.at === this.#last.at + this.#last.length) this.#starved += at;
        if (this.#quiet && !(this.#last.mark & ANEW)) this.#risen = 0;
        this.#quiet = 0;
        this.#last = block;
        continue;
      }
      const length = Math.max(0, Math.min(frames - i, block.length - at));
      block.planes.forEach((plane, c) => out[c].set(plane.subarray(at, at + length), i));
      for (let k = i; k < i + length && this.#risen < FADE; k += 1) {
        this.#risen += 1;
        for (const plane of out) plane[k] *= gain(this.#risen);
      }
      i += length;
      if (at + length >= block.length) this.#queue.shift();
    }
    this.#next = currentFrame + frames - this.#shift;
    this.#quanta += 1;
    const counts = this.#memory?.[0];
    if (counts) {
      Atomics.store(counts, 4, this.#starved);
      Atomics.store(counts, 3, this.#shift);
      Atomics.store(counts, 2, (currentFrame + frames) / frames);
    } else if (this.#quanta % REPORT_EVERY === 0) this.#source?.postMessage([this.#next, this.#shift, this.#starved]);
    return !this.#closed;
  }
}

registerProcessor('seamcast', Reader);
