// @ts-check
/** A `Core` in a worker, as it is seen from the main thread. */
import { NOTHING } from './core.js';
import { PlayerError } from './errors.js';

/** Until a worker that tells neither life nor failure is given up, ms. */
const PATIENCE_MS = 10_000;

/** How to make the package's own worker. */
export const places = { worker: () => /** @type {Worker} */ (/** @type {unknown} */ (null)) };

/**
 * Starts the worker; null where the browser or its policy does not let us.
 * @param {string | URL} [url] @param {string | URL} [wasmUrl]
 * @returns {Promise<Worker | null>}
 */
export async function spawn(url, wasmUrl) {
  /** @type {Worker | undefined} */
  let worker;
  try {
    const made = worker = url ? new Worker(url, { type: 'module', name: 'seamcast' }) : places.worker();
    // The module comes while the worklet does.
    made.postMessage([0, 'load', wasmUrl]);
    await new Promise((resolve, reject) => {
      made.onmessage = resolve;
      made.onerror = made.onmessageerror = reject;
      setTimeout(reject, PATIENCE_MS);
    });
    return made;
  } catch {
    worker?.terminate();
    return null;
  }
}

export class Remote {
  #worker;
  #load;
  #rate = 1;
  #last = NOTHING;

  /**
   * @param {import('./core.js').Options} options @param {(type: string, detail?: any) => void} tell
   * @param {Worker} worker @param {number} load Tells our messages from those of another load.
   */
  constructor(options, tell, worker, load) {
    this.#worker = worker;
    this.#load = load;
    worker.onmessage = ({ data: [from, type, detail] }) => {
      if (from !== load) return;
      if (type === 'state') this.#last = detail;
      for (const key of ['error', 'cause']) {
        const error = detail?.[key];
        if (error) detail[key] = new PlayerError(error.reason, error.detail, error);
      }
      tell(type, detail);
    };
    worker.onerror = (event) => {
      event.preventDefault();
      tell('fail', { error: new PlayerError('decode', `the worker failed (${event.message})`, { remedy: 'reload the page and report the stream' }) });
    };
    this.call('open', options);
  }

  /** Feeds the worklet of another output from now on. @param {import('./output.js').Output} output @param {string | URL} [url] The worklet's. */
  async attach(output, url) {
    this.#rate = output.rate;
    const way = await output.worklet(url);
    if (!output.fed) this.call('attach', way);
    output.fed = true;
    this.call('running', output.running);
  }

  /** @param {string} method @param {any[]} args */
  call(method, ...args) {
    this.#worker.postMessage([this.#load, method, ...args], args[0]?.port ? [args[0].port] : []);
  }

  /** What was told last, carried on to `frame`. @param {number} frame */
  state(frame) {
    const last = this.#last;
    const { time, end, start, stats } = last;
    const passed = Math.min(Math.max(0, frame - Math.max(last.frame, start)) / this.#rate, Math.max(0, end - time));
    return { ...last, frame, time: time + passed, stats: { ...stats, totalDuration: stats.totalDuration + passed } };
  }
}
