// @ts-check
/** What a player has whatever its source: the output, made when first needed, and perhaps a worker. */
import { Output, hasWorklet } from './output.js';
import { spawn } from './remote.js';
import { load } from './wasm.js';

export class Stage {
  /** @type {Output | null | undefined} */
  output;
  #gain = 1;
  #options;
  #changed;
  /** @type {Promise<Worker | null> | null | undefined} */
  #worker;

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
   * Opens, and makes a worker for a source, once there is a worklet to be fed from it; none where that is not wanted, or the
   * browser or its policy does not let us. Making a context may take long: what has to be downloaded comes meanwhile.
   * @param {import('./core.js').Options} options
   */
  async worker({ source, wasmUrl }) {
    const { output, thread, workerUrl, workletUrl } = this.#options;
    // A socket or stream handed over lives on this thread, and delivers from now on.
    if (output !== 'worklet' || thread === 'main' || !hasWorklet() || (source && typeof source !== 'string')) {
      // The core tells a failure.
      load(wasmUrl).catch(() => {});
      this.open();
      return null;
    }
    const [worker, way] = await Promise.all([this.#worker ??= spawn(workerUrl, wasmUrl), this.open().worklet(workletUrl).catch(() => null)]);
    return way && worker;
  }

  /** Lets it play to the output. @param {import('./core.js').Core | import('./remote.js').Remote} core */
  attach(core) {
    void core.attach(this.open(), this.#options.workletUrl);
  }

  /** Drops the output; whoever opens it next gets another. */
  async close() {
    const { output } = this;
    this.output = null;
    output?.context.removeEventListener('statechange', this.#changed);
    await output?.close();
  }

  /** Ends the worker. */
  dismiss() {
    void this.#worker?.then((worker) => worker?.terminate());
    this.#worker = null;
  }
}
