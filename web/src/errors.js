// @ts-check
/** Every failure a `Player` reports: one class, MediaError's codes, a stable reason and a remedy. */

/** @typedef {import('./index.js').PlayerErrorReason} Reason */

export const ABORTED = 1;
export const NETWORK = 2;
export const DECODE = 3;
export const SRC_NOT_SUPPORTED = 4;

/** @type {Record<Reason, [code: 1 | 2 | 3 | 4, remedy: string]>} */
const REASONS = {
  aborted: [ABORTED, 'set src again to start over'],
  unreachable: [NETWORK, 'check the address and the server; an https page needs https or wss'],
  connection_lost: [NETWORK, 'call play() to try again'],
  refused: [NETWORK, 'its message says why'],
  mount_not_found: [SRC_NOT_SUPPORTED, 'check the mount name, or start its source and call play()'],
  http_status: [NETWORK, 'open the address in a tab to see why'],
  bad_message: [NETWORK, 'update server and player'],
  unsupported_media: [SRC_NOT_SUPPORTED, 'use Opus or MP3'],
  decode: [DECODE, 'reload the page and report the stream'],
  wasm: [SRC_NOT_SUPPORTED, "serve player.wasm beside the script or pass wasmUrl, and allow 'wasm-unsafe-eval' in the page's CSP"],
  no_audio: [SRC_NOT_SUPPORTED, 'use an <audio> element'],
};

/** What `player.error` and rejected promises hold. */
export class PlayerError extends Error {
  /**
   * @param {Reason} reason
   * @param {string} detail What happened, with the values.
   * @param {{cause?: unknown}} [more]
   */
  constructor(reason, detail, more) {
    const [code, remedy] = REASONS[reason];
    super(`${detail}: ${remedy}`, more);
    this.name = /** @type {const} */ ('PlayerError');
    this.code = code;
    this.reason = reason;
    this.detail = detail;
    this.remedy = remedy;
  }
}

/**
 * What was thrown, as one of ours.
 * @param {any} cause @param {Reason} reason @param {string} what What failed.
 * @returns {PlayerError}
 */
export const failure = (cause, reason, what) =>
  cause instanceof PlayerError ? cause : new PlayerError(reason, `${what} (${cause?.message ?? cause})`, { cause });

/** A DOMException where there is one; Node 20 has it too.
 * @param {string} message @param {string} name */
export const domError = (message, name) => new DOMException(message, name);

/**
 * Says what a value is, for messages about wrong arguments.
 * @param {unknown} value
 */
export function describe(value) {
  if (typeof value === 'object' && value) return value.constructor?.name ?? 'object';
  const text = typeof value === 'string' ? JSON.stringify(value) : String(value);
  return text.length > 40 ? text.slice(0, 40) + '…' : text;
}

/** What an argument cannot be. @param {string} what Says what it can. @param {unknown} value */
export const wrong = (what, value) => new TypeError(`${what}, got ${describe(value)}`);

/** Refuses what is no amount. @param {unknown} value @param {string} name @param {number} [most] */
export function amount(value, name, most = Infinity) {
  if (!(typeof value === 'number' && value >= 0 && value <= most)) throw wrong(`${name} takes a number from 0 to ${most}`, value);
}

/**
 * A view of any BufferSource; copies nothing.
 * @param {unknown} chunk
 * @param {string} where Name of the call, for the message.
 * @returns {Uint8Array}
 */
export function toBytes(chunk, where) {
  const { buffer = /** @type {ArrayBuffer} */ (chunk), byteOffset, byteLength } = Object(chunk);
  if (byteLength >= 0) return new Uint8Array(buffer, byteOffset, byteLength);
  throw wrong(`${where} takes a Uint8Array or another BufferSource`, chunk);
}
