// @ts-check
/** Where a `Core` hands blocks to: an output's buffers, or the ring to its worklet. Frames are the engine's. */
import { Clock } from './clock.js';

export class Sink {
  /**
   * Least time from reading the clock to the start of a block, seconds; less where the latency is bound to less than four times as much.
   * The first decode lies in between, and some clocks are read late.
   */
  lead = 0.05;
  /** Frames by which the context's clock is ahead of `frame`: it went on while blocks were late. */
  shift = 0;
  /** Those of them amid a programme. */
  starved = 0;
  clock = new Clock();

  /** Where the audio thread should be. */
  get frame() {
    const { rate, reached, runs } = /** @type {import('./core.js').Sink} */ (/** @type {unknown} */ (this));
    return Math.round(this.clock.at(reached / rate * 1000, runs) * rate / 1000);
  }
}
