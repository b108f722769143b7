// @ts-check
/**
 * Where sound leaves: a Web Audio context and the player's node in it. Blocks come from a
 * worklet, or are scheduled here as AudioBufferSourceNodes on whole frames.
 */
import { now } from './clock.js';
import { PlayerError } from './errors.js';
import { inFirefox } from './firefox.js';
import { memory as share } from './memory.js';
import { Sink } from './sink.js';

/** Time constant of volume changes, seconds: short enough to feel immediate, long enough not to click. */
const FADE = 0.012;
/** What the worklet's memory holds, seconds: the horizon, and as much again that may be cancelled. */
const MEMORY = 6;
/** For how long a clock that has just begun is watched, milliseconds. */
const EVEN_MS = 30;
/** Frames that a device may have taken before it starts. */
const MOVES = 720;
/** How far off a cut has to lie for a worklet to hear of it in time, seconds. */
const CUT = 0.015;

/** A running context whose clock stands still this long is broken. */
const FROZEN_MS = 4000;
/** How long to wait for a context to run before calling it blocked, before any gesture, and after one. */
const PATIENCE_MS = 1000;
const LONGER_MS = 3000;

/** @param {number} ms */
const sleep = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); });

/** Whether this page has Web Audio. */
export const hasWebAudio = () => typeof AudioContext !== 'undefined';

/** Whether this page may have worklets: only secure contexts see the name. */
export const hasWorklet = () => typeof AudioWorkletNode !== 'undefined';

/** Whether memory can be shared with one. */
export const hasMemory = () => globalThis.crossOriginIsolated === true && typeof SharedArrayBuffer !== 'undefined';

export class Output extends Sink {
  /** What a blocked main thread survives. Costs no latency. */
  horizon = 3;
  /** @type {Promise<void> | false | undefined} */
  #settled;
  /** What may still be cancelled. @type {{node: AudioBufferSourceNode, at: number, end: number}[]} */
  #sources = [];
  /** @type {AudioWorkletNode | null | undefined} */
  #reader;
  /** What a `Ring` needs to feed the worklet. @type {Promise<import('./ring.js').Way> | undefined} */
  #way;
  /** Whether somebody has it. */
  fed = false;
  /** Where the clock was last seen to move, or not needed to. */
  #moved = { frame: -1, at: 0 };

  /** @param {AudioContext} [context] The host's; without one the output makes, resumes and closes its own. */
  constructor(context) {
    super();
    if (!context && !hasWebAudio()) throw new PlayerError('no_audio', 'AudioContext is missing');
    this.owned = !context;
    this.context = context ?? new AudioContext();
    this.rate = this.context.sampleRate;
    this.channels = Math.max(1, this.context.destination.channelCount);
    // Where every context begins, whatever it says of its state.
    this.clock.at(0, false);
    /** @type {GainNode} */
    this.node = new GainNode(this.context);
    this.node.connect(this.context.destination);
  }

  get runs() {
    return this.context.state === 'running';
  }

  // A context tells this itself.
  set runs(_) {}

  /** The context's last reading, in frames. */
  get reached() {
    return Math.round(this.context.currentTime * this.rate);
  }

  /** The frame at which a cut made now can take place. */
  get cut() {
    return this.frame + (this.#reader ? Math.round(CUT * this.rate) : 0);
  }

  /**
   * Seconds from the context's clock to the ear, Bluetooth's included, as far as the browser knows. Firefox is not asked for more than
   * its share: its first answer can wait for an audio thread that waits for this one, and both stand still for good.
   */
  get delay() {
    const { context } = this;
    return (context.baseLatency || 0) + (inFirefox() ? 0 : context.outputLatency || 0);
  }

  /** The frame that is being heard. */
  get heard() {
    return this.frame - this.delay * this.rate;
  }

  /* ── Blocks ──────────────────────────────────────────────────────── */

  /** Has the worklet made, once, and says what a `Ring` needs to feed it. @param {string | URL} [url] */
  worklet(url) {
    return (this.#way ??= this.#worklet(url));
  }

  /** @param {string | URL} [url] */
  async #worklet(url) {
    const { context, rate, channels } = this;
    // The query is Vite's: it would write so small a file into a `data:` address, which a policy of 'self' forbids.
    await context.audioWorklet.addModule(url ?? new URL('./worklet.js?no-inline', import.meta.url));
    const memory = hasMemory() ? share(channels, MEMORY * rate) : null;
    const { port1: port, port2 } = new MessageChannel();
    this.#reader = new AudioWorkletNode(context, 'seamcast', {
      numberOfInputs: 0, outputChannelCount: [channels], processorOptions: { memory },
    });
    this.#reader.port.postMessage(port2, [port2]);
    this.#reader.connect(this.node);
    return { rate, channels, memory, port, runs: this.runs };
  }

  /** @param {import('./engine.js').Engine} engine */
  schedule(engine) {
    const { context, rate } = this;
    const past = context.currentTime * rate;
    this.#sources = this.#sources.filter(({ end }) => end >= past);
    for (let block; (block = engine.nextBlock(this.frame));) {
      const [at, ...planes] = block;
      const { length } = planes[0];
      // The context's own rate and whole frames: nobody resamples or rounds, so neighbours join without a seam.
      const buffer = context.createBuffer(planes.length, length, rate);
      planes.forEach((/** @type {Float32Array<ArrayBuffer>} */ plane, /** @type {number} */ c) => buffer.copyToChannel(plane, c));
      const node = context.createBufferSource();
      node.buffer = buffer;
      node.connect(this.node);
      node.start(at / rate);
      this.#sources.push({ node, at, end: at + length });
    }
  }

  /** Silences what starts at or after `frame`, and cuts what crosses it. */
  cancel(frame = this.frame) {
    this.#sources = this.#sources.filter(({ node, at, end }) => {
      if (at >= frame) node.disconnect();
      else if (end > frame) node.stop(frame / this.rate);
      return at < frame;
    });
  }

  /** Only a worklet fades. */
  finish() {}

  /* ── Context ─────────────────────────────────────────────────────── */

  /** @param {number} gain */
  setGain(gain) {
    const { gain: param } = this.node;
    if (this.runs) param.setTargetAtTime(gain, this.context.currentTime, FADE);
    else param.value = gain;
  }

  /**
   * Asks the browser for sound. False: it wants a user gesture first.
   * @param {boolean} [gesture] Whether there was one.
   */
  async resume(gesture = /** @type {any} */ (globalThis.navigator)?.userActivation?.hasBeenActive) {
    // A blocked resume() stays pending rather than failing.
    await Promise.race([this.context.resume().catch(() => {}), sleep(gesture ? LONGER_MS : PATIENCE_MS)]);
    if (!this.#way) await this.settled();
    return this.runs;
  }

  /** Watches a clock that has begun; nothing is late of one that has not, and what is to be heard may begin with it. */
  async settled() {
    if (this.runs) await (this.#settled ??= this.reached > MOVES && this.#settle());
  }

  /** A late clock is known by its leaps: it is believed once it has gone evenly for a while. */
  async #settle() {
    const begun = now();
    for (let wall = begun, since = begun, most = -Infinity; wall - since < EVEN_MS && wall - begun < 10 * EVEN_MS;) {
      await sleep(EVEN_MS / 6);
      wall = now();
      const { frame, reached } = this;
      const ahead = frame / this.rate * 1000 - wall;
      if (ahead > most + 3 || frame - reached > EVEN_MS / 2000 * this.rate) since = wall;
      most = Math.max(most, ahead);
    }
  }

  /** Whether the clock of a context of our own stands although it is to move. @param {boolean} needed */
  frozen(needed) {
    const { frame } = this;
    const wall = now();
    if (!needed || !this.runs || frame !== this.#moved.frame) this.#moved = { frame, at: wall };
    return this.owned && wall - this.#moved.at > FROZEN_MS;
  }

  async close() {
    this.cancel();
    this.#reader?.port.postMessage(null);
    this.node.disconnect();
    if (!this.owned || this.context.state === 'closed') return;
    // What the context has rendered is still on its way to the ear.
    await sleep(this.delay * 1000);
    await this.context.close();
  }
}
