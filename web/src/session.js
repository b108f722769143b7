// @ts-check
/**
 * The `seamcast.v1` listener session: control messages and chunk headers in,
 * position and notices out. Pure: no socket, no clock. `protocol/README.md`
 * documents every message and the chunk layout.
 */
import { PlayerError } from './errors.js';

export const SUBPROTOCOL = 'seamcast.v1';
const HEADER_LEN = 40;
const VERSION = 1;
const KIND_MEDIA = 1;
const TICKS_PER_SECOND = 705_600_000;

/**
 * @typedef {object} Chunk
 * @property {number} end Where it ends, media seconds.
 * @property {number} ingest When the relay received it, ms since the Unix epoch on its clock.
 */

/**
 * What the player acts on of a control message.
 * @typedef {{type: 'welcome', recovered: boolean}
 *   | {type: 'config', generation: number, container: string, headers: Uint8Array}
 *   | {type: 'metadata', at: number, tags: Record<string, unknown>}
 *   | {type: 'gap', reason: string}
 *   | {type: 'offline', graceMs: number}
 *   | {type: 'online' | 'time'}
 *   | {type: 'end', mediaTime: number}
 *   | {type: 'goaway', afterMs: number, url: string}
 *   | {type: 'error', message: string}} Notice
 */

/** @param {unknown} value @param {number} [otherwise] */
const number = (value, otherwise = 0) => (typeof value === 'number' && Number.isFinite(value) ? value : otherwise);
/** @param {unknown} value */
const text = (value) => (typeof value === 'string' ? value : '');

/** What one programme has told us so far; lives on across reconnects. */
export class Session {
  /** Identity of the relay's log, null before `welcome`. @type {string | null} */
  #epoch = null;
  /** Sequence number of the first chunk not yet received. @type {number | null} */
  #next = null;
  /** Programme positions that can be joined, seconds. @type {[number, number]} */
  seekable = [0, 0];
  /** Relay's clock minus ours, ms; null until measured. @type {number | null} */
  clockOffset = null;
  #bestRoundTrip = Infinity;

  /** The join point that continues byte for byte, or null before the first `welcome`. */
  get resumePoint() {
    return this.#epoch === null || this.#next === null ? null : `${this.#epoch}:${this.#next}`;
  }

  /**
   * Reads a control message. Unknown types are skipped: newer relays may send them.
   * @param {string} message
   * @param {number} now Our wall clock, ms since the Unix epoch.
   * @returns {Notice | null}
   */
  control(message, now) {
    let m;
    try {
      m = JSON.parse(message);
    } catch (cause) {
      throw new PlayerError('bad_message', `control message of ${message.length} characters is not JSON`, { cause });
    }
    const type = m?.type;
    switch (type) {
      case 'welcome': {
        const changed = this.#epoch !== null && this.#epoch !== m.epoch;
        this.#epoch = text(m.epoch);
        this.#next = number(m.from);
        this.seekable = [number(m.seekable?.[0]), number(m.seekable?.[1])];
        // A first guess, half a round trip off at most; `time` refines it.
        if (this.#bestRoundTrip === Infinity && m.server_time) this.clockOffset = number(m.server_time) - now;
        return { type, recovered: m.recovered === true && !changed };
      }
      case 'config':
        return { type, generation: number(m.generation), container: text(m.container), headers: Uint8Array.from(atob(text(m.headers)), (c) => c.charCodeAt(0)) };
      case 'metadata':
        return { type, at: number(m.at), tags: m.tags ?? {} };
      case 'gap':
        this.#next = number(m.to, this.#next ?? 0);
        return { type, reason: text(m.reason) };
      case 'offline':
        return { type, graceMs: number(m.grace_ms) };
      case 'online':
        return { type };
      case 'end':
        return { type, mediaTime: number(m.media_time) };
      case 'goaway':
        return { type, afterMs: number(m.after_ms), url: text(m.url) };
      case 'time': {
        const roundTrip = now - number(m.t0, now);
        // The quickest exchange says most about the offset: queueing only ever adds.
        if (roundTrip >= 0 && roundTrip <= this.#bestRoundTrip) {
          this.#bestRoundTrip = roundTrip;
          this.clockOffset = number(m.t1) + roundTrip / 2 - now;
        }
        return { type };
      }
      case 'error':
        return { type, message: text(m.message) };
      default:
        return null;
    }
  }

  /**
   * Splits a binary message and notes the position. Null: a kind this build
   * does not know, or a chunk already received (a resume may overlap).
   * @param {Uint8Array} message
   * @returns {Chunk | null}
   */
  chunk(message) {
    if (message.length < HEADER_LEN) {
      throw new PlayerError('bad_message', `binary message of ${message.length} bytes, a header has ${HEADER_LEN}`);
    }
    if (message[0] !== VERSION) {
      throw new PlayerError('bad_message', `chunk layout version ${message[0]}, this build reads ${VERSION}`);
    }
    if (message[1] !== KIND_MEDIA) return null;
    const view = new DataView(message.buffer, message.byteOffset, HEADER_LEN);
    const seq = Number(view.getBigUint64(8));
    if (this.#next !== null && seq < this.#next) return null;
    this.#next = seq + 1;
    const end = Number(view.getBigUint64(16) + view.getBigUint64(24)) / TICKS_PER_SECOND;
    this.seekable[1] = Math.max(this.seekable[1], end);
    return { end, ingest: Number(view.getBigUint64(32)) / 1000 };
  }
}

/** @param {string} from */
export const seekMessage = (from) => JSON.stringify({ type: 'seek', from });
/** @param {number} mediaTime @param {number} bufferedMs @param {number} underruns */
export const statsMessage = (mediaTime, bufferedMs, underruns) =>
  JSON.stringify({ type: 'stats', media_time: mediaTime, buffered_ms: bufferedMs, underruns });
/** @param {number} now */
export const timeMessage = (now) => JSON.stringify({ type: 'time', t0: now });
