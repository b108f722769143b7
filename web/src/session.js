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
 * @property {number} flags 1 sync point, 2 discontinuity, 4 last of its generation.
 * @property {number} generation
 * @property {number} seq
 * @property {number} mediaTime Seconds.
 * @property {number} duration Seconds.
 * @property {number} ingestTime Milliseconds since the Unix epoch, relay's clock.
 * @property {Uint8Array} payload
 */

/**
 * @typedef {{type: 'welcome', mount: string, epoch: string, recovered: boolean, mediaTime: number, live: boolean, seekable: [number, number]}
 *   | {type: 'config', generation: number, container: string, codec: string, sampleRate: number, channels: number, headers: Uint8Array}
 *   | {type: 'metadata', at: number, tags: Record<string, string>}
 *   | {type: 'gap', chunks: number, reason: string}
 *   | {type: 'offline', graceMs: number}
 *   | {type: 'online'}
 *   | {type: 'end', mediaTime: number, reason: string}
 *   | {type: 'goaway', afterMs: number, url: string | null}
 *   | {type: 'time', roundTripMs: number}
 *   | {type: 'error', code: string, message: string}} Notice
 */

/** @param {unknown} value @param {number} [otherwise] */
const number = (value, otherwise = 0) => (typeof value === 'number' && Number.isFinite(value) ? value : otherwise);
/** @param {unknown} value */
const text = (value) => (typeof value === 'string' ? value : '');

/** @param {string} base64 */
function bytesOf(base64) {
  const binary = atob(base64);
  return Uint8Array.from(binary, (c) => c.charCodeAt(0));
}

/** What one programme has told us so far; lives on across reconnects. */
export class Session {
  constructor() {
    /** Identity of the relay's log, null before `welcome`. @type {string | null} */
    this.epoch = null;
    /** Sequence number of the first chunk not yet received. @type {number | null} */
    this.next = null;
    /** Programme positions that can be joined, seconds. @type {[number, number]} */
    this.seekable = [0, 0];
    /** Programme position up to which chunks have arrived, seconds. */
    this.head = 0;
    /** Relay's clock minus ours, ms; null until measured. @type {number | null} */
    this.clockOffset = null;
    this.bestRoundTrip = Infinity;
  }

  /** The join point that continues byte for byte, or null before the first `welcome`. */
  get resumePoint() {
    return this.epoch === null || this.next === null ? null : `${this.epoch}:${this.next}`;
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
    switch (m?.type) {
      case 'welcome': {
        const changed = this.epoch !== null && this.epoch !== m.epoch;
        this.epoch = text(m.epoch);
        this.next = number(m.from);
        this.seekable = [number(m.seekable?.[0]), number(m.seekable?.[1])];
        this.head = number(m.media_time);
        // A first guess, half a round trip off at most; `time` refines it.
        if (this.bestRoundTrip === Infinity && m.server_time) this.clockOffset = number(m.server_time) - now;
        return {
          type: 'welcome', mount: text(m.mount), epoch: this.epoch, recovered: m.recovered === true && !changed,
          mediaTime: this.head, live: m.live !== false, seekable: this.seekable,
        };
      }
      case 'config':
        return {
          type: 'config', generation: number(m.generation), container: text(m.container), codec: text(m.codec),
          sampleRate: number(m.sample_rate), channels: number(m.channels), headers: bytesOf(text(m.headers)),
        };
      case 'metadata': {
        /** @type {Record<string, string>} */
        const tags = {};
        for (const [name, value] of Object.entries(m.tags ?? {})) {
          tags[name.toUpperCase()] = Array.isArray(value) ? value.join('; ') : String(value);
        }
        return { type: 'metadata', at: number(m.at), tags };
      }
      case 'gap':
        this.next = number(m.to, this.next ?? 0);
        return { type: 'gap', chunks: Math.max(0, number(m.to) - number(m.from)), reason: text(m.reason) };
      case 'offline':
        return { type: 'offline', graceMs: number(m.grace_ms) };
      case 'online':
        return { type: 'online' };
      case 'end':
        return { type: 'end', mediaTime: number(m.media_time), reason: text(m.reason) };
      case 'goaway':
        return { type: 'goaway', afterMs: number(m.after_ms), url: text(m.url) || null };
      case 'time': {
        const roundTrip = now - number(m.t0, now);
        // The quickest exchange says most about the offset: queueing only ever adds.
        if (roundTrip >= 0 && roundTrip <= this.bestRoundTrip) {
          this.bestRoundTrip = roundTrip;
          this.clockOffset = number(m.t1) + roundTrip / 2 - now;
        }
        return { type: 'time', roundTripMs: roundTrip };
      }
      case 'error':
        return { type: 'error', code: text(m.code), message: text(m.message) };
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
    if (this.next !== null && seq < this.next) return null;
    this.next = seq + 1;
    const mediaTime = Number(view.getBigUint64(16)) / TICKS_PER_SECOND;
    const duration = Number(view.getBigUint64(24)) / TICKS_PER_SECOND;
    this.head = mediaTime + duration;
    this.seekable[1] = Math.max(this.seekable[1], this.head);
    return {
      flags: message[2], generation: view.getUint32(4), seq, mediaTime, duration,
      ingestTime: Number(view.getBigUint64(32)) / 1000, payload: message.subarray(HEADER_LEN),
    };
  }
}

/** @param {string} from */
export const seekMessage = (from) => JSON.stringify({ type: 'seek', from });
/** @param {number} mediaTime @param {number} bufferedMs @param {number} underruns */
export const statsMessage = (mediaTime, bufferedMs, underruns) =>
  JSON.stringify({ type: 'stats', media_time: mediaTime, buffered_ms: bufferedMs, underruns });
/** @param {number} now */
export const timeMessage = (now) => JSON.stringify({ type: 'time', t0: now });
