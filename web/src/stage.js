// @ts-check
/** What a player has whatever its source: the output, made when first needed, and perhaps a worker. */
import { Output, hasMemory, hasWorklet } from './output.js';
import { spawn } from './remote.js';
import { load } from './wasm.js';

export class Stage {
  /** @type {Output | null | undefined} */
  output;
  #gain = 1;
  #options;
  #changed;
  /** Null: it did not come to life. @type {ReturnType<typeof spawn> | undefined} */
  #spawned;

  /** @param {import('./index.js').PlayerOptions} options @param {() => void} changed The context's state did. */
  constructor(options, changed) {
    this.#options = options;
    this.#changed = changed;
  }

  open() {
    if (!this.output) {
      this.output = new Output(this.#options.context);
      this.setGain(this.#gain);
      this.output.context.addEventListener('statechange', this.#changed);
      // A phone may let a page have sound again only when it is seen.
      document.addEventListener('visibilitychange', this.#changed);
    }
    return this.output;
  }

  /** @param {number} gain */
  setGain(gain) {
    this.#gain = gain;
    // An untouched node passes samples through unchanged.
    if (this.output && this.output.node.gain.value !== gain) this.output.setGain(gain);
  }

  /**
   * A worker for a source, where that is wanted and may be had; what has to be downloaded comes from now on.
   * @param {import('./core.js').Options} options
   */
  worker({ source, wasmUrl }) {
    const { output, thread, workerUrl } = this.#options;
    // Without shared memory WebKit's worklet stalls with this thread. A socket or stream handed over lives on it, and delivers from now on.
    if (hasWorklet() && thread !== 'main' && (!source || typeof source === 'string')
      && (output === 'worklet' || (output !== 'buffers' && (hasMemory() || !/^Apple/.test(navigator.vendor))))) {
      if (this.#spawned === undefined) this.#spawned = spawn(workerUrl, wasmUrl);
      if (this.#spawned) return this.#spawned.worker;
    }
    // The core tells a failure.
    load(wasmUrl).catch(() => {});
    return null;
  }

  /** Opens; whether there is a worklet to be fed from `worker`. @param {Worker | null} worker */
  async ready(worker) {
    const output = this.open();
    if (!worker) return false;
    const way = output.worklet(this.#options.workletUrl).catch(() => null);
    if ((await this.#spawned?.alive) && (await way)) return true;
    worker.terminate();
    // After dismiss() it may be another's.
    if (this.#spawned?.worker === worker) this.#spawned = null;
    return false;
  }

  /** Lets it play to the output. @param {import('./core.js').Core | import('./remote.js').Remote} core */
  attach(core) {
    void core.attach(this.open(), this.#options.workletUrl);
  }

  /** Drops the output; whoever opens it next gets another. */
  async close() {
    const { output } = this;
    this.output = null;
    if (!output) return;
    output.context.removeEventListener('statechange', this.#changed);
    document.removeEventListener('visibilitychange', this.#changed);
    await output.close();
  }

  /** Ends the worker. */
  dismiss() {
    this.#spawned?.worker.terminate();
    this.#spawned = undefined;
  }
}
