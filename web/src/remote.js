// @ts-check
/** A `Core` in a worker, as it is seen from the main thread. */
import { PlayerError } from './errors.js';

/** Until a worker that tells neither life nor failure is given up, ms. */
const PATIENCE_MS = 10_000;

/**
 * Starts the worker; null where the browser or its policy does not let us.
 * @param {string | URL} [url]
 * @returns {Promise<Worker | null>}
 */
export async function spawn(url) {
  /** @type {Worker | undefined} */
  let worker;
  try {
    const made = worker = url ? new Worker(url, { type: 'module', name: 'seamcast' }) : new Worker(new URL('./worker.js', import.meta.url), { type: 'module', name: 'seamcast' });
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
  #rate;
  /** @type {import('./core.js').State} */
  #last = { frame: 0, time: 0, start: Infinity, end: 0, framed: false, seekable: [0, 0], age: null, bytesReceived: 0, stats: {} };

  /**
   * @param {Worker} worker @param {number} load Tells our messages from those of another load.
   * @param {number} rate Of the context. @param {(type: string, detail?: any) => void} tell
   */
  constructor(worker, load, rate, tell) {
    this.#worker = worker;
    this.#load = load;
    this.#rate = rate;
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
  }

  /** @param {string} method @param {any[]} args */
  call(method, ...args) {
    this.#worker.postMessage([this.#load, method, ...args], args[0]?.port ? [args[0].port] : []);
  }

  /** What was told last, carried on to `frame`. @param {number} frame */
  state(frame) {
    const last = this.#last;
    const { time, end, start, stats, age } = last;
    const passed = Math.min(Math.max(0, frame - Math.max(last.frame, start)) / this.#rate, Math.max(0, end - time));
    return { ...last, frame, time: time + passed, age, stats: { ...stats, totalDuration: (stats.totalDuration ?? 0) + passed } };
  }
}
