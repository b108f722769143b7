// @ts-check
/**
 * The `seamcast.v1` listener session: control messages and chunks' numbers in,
 * position and notices out. Pure: no socket, no clock. `protocol/README.md`
 * documents every message.
 */
import { failure } from './errors.js';

export const SUBPROTOCOL = 'seamcast.v1';

/** @param {unknown} value @param {number} [otherwise] */
export const number = (value, otherwise = 0) => (Number.isFinite(value) ? /** @type {number} */ (value) : otherwise);
/** @param {unknown} value */
const text = (value) => (typeof value === 'string' ? value : '');

/** What one programme has told us so far; lives on across reconnects. */
export class Session {
  /** Identity of the relay's log, null before `welcome`. @type {string | null} */
  #epoch = null;
  /** Sequence number of the first chunk not yet received. @type {number | null} */
  #next = null;
  /** Programme positions that can be joined, seconds, as far as told. @type {[number, number]} */
  seekable = [0, 0];
  /** Whether it goes on, as told. @type {unknown} */
  live = false;
  /** Relay's clock minus ours, ms; null until measured. @type {number | null} */
  clockOffset = null;
  #bestRoundTrip = Infinity;

  /** The join point that continues byte for byte, or null before the first `welcome`. */
  get resumePoint() {
    return this.#epoch && `${this.#epoch}:${this.#next}`;
  }

  /**
   * Reads a control message, and returns it with what the player needs to know of it. Newer relays may send unknown types.
   * @param {string} message
   * @param {number} now Our wall clock, ms since the Unix epoch.
   * @returns {any} Fields may be missing or of any type, but for `recovered` of a `welcome` and `headers`, bytes, of a `config`.
   */
  control(message, now) {
    let m;
    try {
      m = JSON.parse(message);
      if (m?.type === 'config') m.headers = Uint8Array.from(atob(text(m.headers)), (c) => c.charCodeAt(0));
    } catch (cause) {
      throw failure(cause, 'bad_message', `control message of ${message.length} characters is broken`);
    }
    switch (m?.type) {
      case 'welcome':
        m.recovered = m.recovered === true && (this.#epoch ?? m.epoch) === m.epoch;
        this.#epoch = text(m.epoch);
        this.#next = number(m.from);
        this.seekable = [number(m.seekable?.[0]), number(m.seekable?.[1])];
        this.live = m.live;
        // A first guess, half a round trip off at most; `time` refines it.
        if (this.#bestRoundTrip === Infinity && m.server_time) this.clockOffset = number(m.server_time) - now;
        break;
      case 'gap':
        this.#next = number(m.to, this.#next ?? 0);
        break;
      case 'time': {
        const roundTrip = now - number(m.t0, now);
        // The quickest exchange says most about the offset: queueing only ever adds.
        if (roundTrip >= 0 && roundTrip <= this.#bestRoundTrip) {
          this.#bestRoundTrip = roundTrip;
          this.clockOffset = number(m.t1) + roundTrip / 2 - now;
        }
        break;
      }
      default:
    }
    return m;
  }

  /**
   * Notes the position after a chunk. False: it was received already (a resume may overlap).
   * @param {number} seq @param {number} end Where it ends, media seconds.
   */
  chunk(seq, end) {
    if (this.#next !== null && seq < this.#next) return false;
    this.#next = seq + 1;
    this.seekable[1] = Math.max(this.seekable[1], end);
    return true;
  }
}

/** What we send. @param {string} type @param {Record<string, unknown>} fields */
export const message = (type, fields) => JSON.stringify({ type, ...fields });
