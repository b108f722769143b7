// Watches the machine itself: how late a timer runs that has nothing else to do.
// A real-time test that fails while the machine stood still shows nothing.

import { Worker, isMainThread, parentPort } from 'node:worker_threads';
import { fileURLToPath } from 'node:url';

const EVERY = 20;

if (!isMainThread) {
  let worst = 0;
  let last = performance.now();
  setInterval(() => {
    const now = performance.now();
    worst = Math.max(worst, now - last - EVERY);
    last = now;
  }, EVERY);
  parentPort.on('message', () => {
    parentPort.postMessage(worst);
    worst = 0;
  });
}

export class Jitter {
  #worker = new Worker(fileURLToPath(import.meta.url));

  constructor() { this.#worker.unref(); }

  /** The worst lateness since the last call, in ms. */
  read() {
    return new Promise((done) => {
      this.#worker.once('message', done);
      this.#worker.postMessage('read');
    });
  }
}
