// @ts-check
/**
 * Where sound leaves: a Web Audio context, the player's node in it, and the
 * engine's blocks scheduled there as AudioBufferSourceNodes on whole frames.
 */
import { Output as Scheduler } from '../dist/player/glue.js';
import { PlayerError } from './errors.js';

/** Least time from reading the clock to the start of a block, seconds: the first decode lies in between, and some clocks are read late. */
const LEAD = 0.05;
/** How far ahead blocks are scheduled, seconds: what a blocked main thread survives. Costs no latency. */
const HORIZON = 3;
/**
 * How far the audio thread may be believed to be ahead of `currentTime`, seconds. Firefox tells the
 * main thread late, the later the busier that is, and a block handed out for a moment gone by is a seam.
 */
const MAX_LAG = 0.25;
/** How long an observation of the audio clock counts, milliseconds. */
const CLOCK_WINDOW = 1000;
/** Time constant of volume changes, seconds: short enough to feel immediate, long enough not to click. */
const FADE = 0.012;

/** Whether this page has Web Audio. */
export const hasWebAudio = () => typeof AudioContext !== 'undefined';

export class Output {
  /** @param {AudioContext} [context] The host's; without one the output makes, resumes and closes its own. */
  constructor(context) {
    if (!context && !hasWebAudio()) throw new PlayerError('no_audio', 'AudioContext is missing');
    this.owned = !context;
    this.context = context ?? new AudioContext();
    /** @type {GainNode} */
    this.node = new GainNode(this.context);
    this.node.connect(this.context.destination);
    /** @type {Scheduler | null} */
    this.scheduler = null;
    /** Greatest `currentTime` less wall clock in this window and the one before, ms. */
    this.clock = { since: 0, now: -Infinity, before: -Infinity };
  }

  /**
   * The context's present frame: where the audio thread is, which `currentTime` may be behind.
   * The greatest distance seen lately between the two clocks tells.
   */
  get frame() {
    const { currentTime, sampleRate, state } = this.context;
    const { clock } = this;
    const wall = performance.now();
    if (state !== 'running') {
      clock.now = clock.before = -Infinity;
      return Math.round(currentTime * sampleRate);
    }
    if (wall - clock.since > CLOCK_WINDOW) {
      clock.before = wall - clock.since > 2 * CLOCK_WINDOW ? -Infinity : clock.now;
      clock.now = -Infinity;
      clock.since = wall;
    }
    clock.now = Math.max(clock.now, currentTime * 1000 - wall);
    const reached = (wall + Math.max(clock.now, clock.before)) / 1000;
    return Math.round(Math.min(reached, currentTime + MAX_LAG) * sampleRate);
  }

  /** Seconds from the context's clock to the ear, as far as the browser knows. */
  get delay() {
    const { baseLatency = 0, outputLatency = 0 } = this.context;
    return (Number.isFinite(baseLatency) ? baseLatency : 0) + (Number.isFinite(outputLatency) ? outputLatency : 0);
  }

  /** @param {import('../dist/player/glue.js').Engine} engine */
  attach(engine) {
    const channels = Math.max(1, this.context.destination.channelCount);
    engine.setOutput(this.context.sampleRate, channels, LEAD, HORIZON);
    this.scheduler ??= new Scheduler(this.context, this.node);
  }

  /** @param {import('../dist/player/glue.js').Engine} engine */
  schedule(engine) {
    this.scheduler?.schedule(engine, this.frame);
  }

  /** Silences what starts at or after `frame`, the present one by default. */
  cancel(frame = this.frame) {
    this.scheduler?.cancel(frame);
  }

  /** @param {number} gain */
  setGain(gain) {
    const { gain: param } = this.node;
    if (this.context.state === 'running') param.setTargetAtTime(gain, this.context.currentTime, FADE);
    else param.value = gain;
  }

  /**
   * Asks the browser for sound. False: it wants a user gesture first.
   * @param {number} patienceMs A blocked `resume()` stays pending rather than failing.
   */
  async resume(patienceMs) {
    const { context } = this;
    if (context.state === 'running') return true;
    const resumed = context.resume().then(() => true, () => false);
    let timer;
    const late = new Promise((resolve) => { timer = setTimeout(resolve, patienceMs, false); });
    await Promise.race([resumed, late]);
    clearTimeout(timer);
    return /** @type {string} */ (context.state) === 'running';
  }

  async close() {
    this.cancel();
    this.scheduler?.free();
    this.scheduler = null;
    this.node.disconnect();
    if (!this.owned || this.context.state === 'closed') return;
    // What the context has rendered is still on its way to the ear.
    await new Promise((resolve) => { setTimeout(resolve, this.delay * 1000); });
    await this.context.close();
  }
}
