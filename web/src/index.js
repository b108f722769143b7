// @ts-check
/** The package's entry: nearly all of it lies in `worker.js`, so that a page with a worker downloads it once. */
import { places } from './worker.js';

// Not there, as bundlers take a file that starts itself as a worker for a circle without end.
places.worker = () => new Worker(new URL('./worker.js', import.meta.url), { type: 'module', name: 'seamcast' });

export { Player, PlayerError } from './worker.js';
