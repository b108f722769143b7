// @ts-check
export { Player } from './player.js';
export { PlayerError } from './errors.js';
