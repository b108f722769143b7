// @ts-check
/** A `Core` in a worker, as it is seen from the main thread. */
import { now } from './clock.js';
import { NOTHING, SOON_MS } from './core.js';
import { PlayerError } from './errors.js';

/** Until a worker that tells neither life nor failure is given up, ms. */
const PATIENCE_MS = 10_000;

/** How to make the package's own worker. */
export const places = { worker: () => /** @type {Worker} */ (/** @type {unknown} */ (null)) };

/**
 * Starts the worker, and the download of its module; null where the browser or its policy does not let us.
 * @param {string | URL} [url] @param {string | URL} [wasmUrl]
 */
export function spawn(url, wasmUrl) {
  try {
    const worker = url ? new Worker(url, { type: 'module', name: 'seamcast' }) : places.worker();
    /** Whether it has the module, and may be given to. @type {Promise<boolean | void>} */
    const alive = new Promise((resolve) => {
      const timer = setTimeout(resolve, PATIENCE_MS);
      // The page is told by what comes of it, not by an error of its own.
      worker.onerror = (event) => resolve(event.preventDefault());
      worker.addEventListener('message', ({ data: [, loaded] }) => {
        clearTimeout(timer);
        if (typeof loaded === 'boolean') resolve(loaded);
      });
    });
    worker.postMessage([0, 'load', wasmUrl]);
    return { worker, alive };
  } catch {
    return null;
  }
}

export class Remote {
  #worker;
  #tell;
  #load;
  /** Appended and not yet sent, and the timer for it. @type {Uint8Array[]} */
  #pieces = [];
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  #sentAt = 0;
  #rate = 1;
  #last = NOTHING;

  /**
   * @param {import('./core.js').Options} options @param {(type: string, detail?: any) => void} tell
   * @param {Worker} worker @param {number} load Tells our messages from those of another load.
   */
  constructor(options, tell, worker, load) {
    this.#worker = worker;
    this.#tell = tell;
    this.#load = load;
    worker.onmessage = ({ data: [from, type, detail] }) => {
      if (from !== load) return;
      if (type === 'state') this.#last = detail;
      for (const key in detail) {
        const error = detail[key];
        if (error?.remedy) detail[key] = new PlayerError(error.reason, error.detail, error);
      }
      tell(type, detail);
    };
    this.call('open', options);
  }

  /** Feeds the worklet of another output from now on. @param {import('./output.js').Output} output @param {string | URL} [url] The worklet's. */
  async attach(output, url) {
    this.#rate = output.rate;
    // Until now it was for `alive` to tell.
    this.#worker.onerror = (event) => {
      event.preventDefault();
      this.#tell('fail', { error: new PlayerError('decode', `the worker failed (${event.message})`) });
    };
    const way = await output.worklet(url);
    if (!output.fed) this.call('attach', way);
    output.fed = true;
    this.call('running', output.runs);
  }

  /** @param {string} method @param {any[]} args */
  call(method, ...args) {
    const [first] = args;
    const append = method === 'append';
    if (append) this.#pieces.push(first);
    if (append && now() - this.#sentAt < SOON_MS) this.#timer ??= setTimeout(() => this.#flush(), SOON_MS);
    else this.#flush();
    if (!append) this.#post([method, ...args], first?.port ? [first.port] : []);
  }

  /** Sends what was appended: a message for each of many small pieces would keep both threads busier than playing does. */
  #flush() {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (!this.#pieces[0]) return;
    this.#sentAt = now();
    this.#post(['append', this.#pieces.splice(0)]);
  }

  /** @param {any[]} message @param {Transferable[]} [transfer] */
  #post(message, transfer = []) {
    this.#worker.postMessage([this.#load, ...message], transfer);
  }

  /** What was told last, carried on or back to `frame`. @param {number} frame */
  state(frame) {
    const last = this.#last;
    const { time, end, start, stats } = last;
    const passed = Math.min((Math.max(frame, start) - Math.max(last.frame, start)) / this.#rate || 0, Math.max(0, end - time));
    return { ...last, frame, time: time + passed, stats: { ...stats, totalDuration: stats.totalDuration + passed } };
  }
}
