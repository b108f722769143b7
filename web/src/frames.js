// @ts-check
/** What a relay would send over a WebSocket, out of the body of a response (RFC 6455 §5.2): whole frames, unmasked. */
import { PlayerError } from './errors.js';

/** Longest message taken, bytes: a chunk has a hundred times less. */
const LIMIT = 8 << 20;

/** First bytes of those that matter. */
export const TEXT = 0x81;
export const BINARY = 0x82;
export const CLOSE = 0x88;

/**
 * The frame that `bytes` begin with and what follows it, once it is whole.
 * @param {Uint8Array} bytes
 * @returns {[kind: number, payload: Uint8Array, rest: Uint8Array] | undefined}
 */
export function frame(bytes) {
  const [kind, short] = bytes;
  const begin = short < 126 ? 2 : short < 127 ? 4 : 10;
  let length = begin > 2 ? 0 : short;
  for (const byte of bytes.subarray(2, begin)) length = length * 256 + byte;
  if (bytes.length < begin) return undefined;
  if (kind < TEXT || short > 127 || length > LIMIT) throw new PlayerError('bad_message', `frame ${kind}, ${short} of ${length} bytes`);
  const end = begin + length;
  return bytes.length < end ? undefined : [kind, bytes.subarray(begin, end), bytes.subarray(end)];
}
