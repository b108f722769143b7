// @ts-check
/**
 * The worker: a `Core` at the other end of a port, and the ring to the audio thread. The same
 * file holds the player itself, so that a page downloads what both need only once.
 */
import { Core } from './core.js';
import { PlayerError } from './errors.js';
import { Ring } from './ring.js';
import { load as prepare } from './wasm.js';

export { Player } from './player.js';
export { PlayerError } from './errors.js';
export { places } from './remote.js';

/** @type {Core | undefined} */
let core;
/** @type {Ring | undefined} */
let ring;

/** Clones would lose what makes an error ours. @param {any} detail */
const plain = (detail) => {
  for (const key in detail) if (detail[key] instanceof PlayerError) detail[key] = { ...detail[key] };
  return detail;
};

/** @param {MessageEvent} message */
const take = ({ data: [load, method, ...args] }) => {
  switch (method) {
    case 'load':
      prepare(args[0]).then(() => postMessage([null, true]), () => postMessage([null, false]));
      break;
    case 'attach':
      ring = new Ring(args[0]);
      core?.attach(ring);
      break;
    case 'open':
      core?.close();
      core = new Core(args[0], (type, detail) => postMessage([load, type, plain(detail)]));
      if (ring) core.attach(ring);
      break;
    case 'close':
      core?.close();
      core = undefined;
      break;
    default:
      /** @type {any} */ (core)?.[method](...args);
  }
};

// By its name, since a host's own worker may import the player.
if (/** @type {any} */ (globalThis).name === 'seamcast' && !globalThis.document) {
  addEventListener('message', take);
  postMessage([]);
}
