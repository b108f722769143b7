// @ts-check
/** The engine's side of the worklet: blocks go through shared memory, or through a port where there is none. */
import { Clock } from './clock.js';
import { ANEW, BLOCK, CANCEL, COMMANDS, DONE } from './memory.js';
import { Sink } from './sink.js';

const QUANTUM = 128;

/** @typedef {{rate: number, channels: number, port: MessagePort, memory: import('./memory.js').Memory | null, runs: boolean}} Way */

export class Ring extends Sink {
  /** What the reader last told, in our frames. */
  reached = 0;
  #written = 0;
  /** Where the next block may lie. */
  #place = 0;

  #memory;
  #port;

  /** @param {Way} way */
  constructor({ rate, channels, port, memory, runs }) {
    super();
    this.rate = rate;
    this.channels = channels;
    this.runs = runs;
    // A port may stall together with the main thread (WebKit): what was sent before has to last.
    this.horizon = memory ? 3 : 6;
    this.#port = port;
    this.#memory = memory;
    port.onmessage = ({ data: [reached, shift, starved] }) => this.#told(reached, shift, starved);
  }

  /** @param {number} reached @param {number} shift @param {number} starved */
  #told(reached, shift, starved) {
    const { shift: before } = this;
    Object.assign(this, { reached, shift, starved });
    // Once it has waited, what was observed of it before is too early.
    if (shift !== before) this.clock = new Clock();
  }

  get frame() {
    if (this.#memory) {
      const [counts] = this.#memory;
      const quanta = Atomics.load(counts, 2);
      const shift = Atomics.load(counts, 3);
      this.#told(quanta * QUANTUM - shift, shift, Atomics.load(counts, 4));
      // Nothing to be guessed: what is rendered next.
      return this.reached;
    }
    return super.frame;
  }

  /** @param {import('./engine.js').Engine} engine */
  schedule(engine) {
    for (;;) {
      // Only a context that stands still lets so many pile up.
      if (this.#memory && this.#written - Atomics.load(this.#memory[0], 1) > COMMANDS - 9) return;
      const block = engine.nextBlock(this.frame);
      if (!block) return;
      const [at, ...planes] = block;
      this.#tell(BLOCK, at, planes);
    }
  }

  cancel(frame = this.frame) {
    this.#tell(CANCEL, frame);
  }

  /** What was handed out last is the end of its programme, or (`cut`) has nothing to do with what comes next. */
  finish(cut = false) {
    this.#tell(cut ? ANEW : ANEW | DONE, 0);
  }

  /** @param {number} kind @param {number} at @param {Float32Array[]} [planes] */
  #tell(kind, at, planes = []) {
    const memory = this.#memory;
    if (!memory) {
      this.#port.postMessage([kind, at, planes], planes.map(({ buffer }) => buffer));
      return;
    }
    const [counts, commands, ...shared] = memory;
    const frames = planes[0]?.length ?? 0;
    if (this.#place + frames > shared[0].length) this.#place = 0;
    planes.forEach((plane, c) => shared[c].set(plane, this.#place));
    commands.set([kind, at, frames, this.#place], this.#written % COMMANDS * 4);
    this.#place += frames;
    this.#written += 1;
    Atomics.store(counts, 0, this.#written);
  }
}
