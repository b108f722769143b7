// @ts-check
/** The `Player`: speaks HTMLMediaElement and owns the context; a `Core`, in a worker or beside it, does the work. */
import { Core } from './core.js';
import { PlayerError, describe, domError, toBytes } from './errors.js';
import { Output, hasWorklet } from './output.js';
import { Ranges } from './ranges.js';
import { Backoff } from './reconnect.js';
import { Remote, spawn } from './remote.js';
import { canPlayType, isSupported } from './support.js';

/** @typedef {import('./index.js').PlayerOptions} PlayerOptions */
/** @typedef {{promise: Promise<void>, resolve: () => void, reject: (e: unknown) => void}} Deferred */

const TIMEUPDATE_MS = 250;
/** A running context whose clock stands still this long is broken and built anew. */
const FROZEN_MS = 4000;
/** How long to wait for a context to run before calling it blocked: with and without a gesture so far. */
const PATIENCE_MS = [1000, 3000];
/** Most bytes appended that the engine has not taken. */
const APPEND_LIMIT = 64 << 20;
/** Bytes on their way to the engine for which `append()` does not wait. */
const APPEND_WINDOW = 64 << 10;

/** @returns {Deferred} */
function defer() {
  /** @type {any} */
  const d = {};
  d.promise = new Promise((resolve, reject) => Object.assign(d, { resolve, reject }));
  // A host may ignore play()'s promise; failures reach it as `error` events too.
  d.promise.catch(() => {});
  return d;
}

/** @param {PlayerOptions['latency']} latency @returns {[min: number, max: number]} */
function bounds(latency = 'auto') {
  if (latency === 'auto') return [0, Infinity];
  const { min = 0, max = Infinity } = typeof latency === 'number' ? { min: latency, max: latency } : latency;
  if (typeof latency === 'string' || !(min >= 0 && max >= min)) {
    throw new TypeError(`latency takes 'auto', seconds, or {min, max} with 0 <= min <= max, got ${JSON.stringify(latency) ?? describe(latency)}`);
  }
  return [min, max];
}

/** Names may come more than once (RFC 7845 §5.2). @param {[string, string][]} list */
function tagsOf(list) {
  /** @type {Record<string, string>} */
  const tags = {};
  for (const [name, value] of list) tags[name.toUpperCase()] = name.toUpperCase() in tags ? `${tags[name.toUpperCase()]}; ${value}` : value;
  return tags;
}

const now = () => performance.now();

export class Player extends EventTarget {
  /** @type {Required<Pick<PlayerOptions, 'mode' | 'preload'>> & PlayerOptions} */
  #options;
  #latency;
  /** @type {Output | null} */
  #output = null;
  /** @type {Core | Remote | null} */
  #core = null;
  /** @type {Promise<Worker | null> | null} */
  #worker = null;
  /** @type {Promise<Core | Remote> | null} */
  #starting = null;
  /** Changes with every load, so that late answers of an earlier one are dropped. */
  #load = 0;

  /** @type {import('./link.js').Source | null} */
  #source = null;
  /** `endOfStream()` was called: what is appended next is another stream. */
  #inputEnded = false;

  #paused = true;
  #ended = false;
  #playing = false;
  #readyState = 0;
  #duration = NaN;
  /** @type {PlayerError | null} */
  #error = null;
  /** @type {Deferred | null} */
  #play = null;
  /** @type {Deferred | null} */
  #seek = null;

  #volume = 1;
  #muted = false;
  #frozen = { frame: -1, since: 0 };
  #toldTime = 0;
  /** Position shown in a pause, and from a seek to its end. @type {number | null} */
  #held = null;
  /** Bytes appended, and what the engine has taken of them. */
  #sent = 0;
  #taken = 0;
  /** Those appended while it was full. @type {{at: number, resolve: () => void, reject: (e: unknown) => void}[]} */
  #waiting = [];
  /** Seconds played up to the last `flush()`. */
  #flushed = 0;

  /** @param {PlayerOptions} [options] */
  constructor(options = {}) {
    super();
    const { mode = 'live', preload = 'none', reconnect } = options;
    if (mode !== 'live' && mode !== 'complete') throw new TypeError(`mode takes 'live' or 'complete', got ${describe(mode)}`);
    const { stretch } = options;
    if (stretch !== undefined && !(stretch >= 0 && stretch <= 0.05)) {
      throw new TypeError(`stretch takes a fraction from 0 to 0.05, got ${describe(stretch)}`);
    }
    this.#options = { ...options, mode, preload };
    this.#latency = bounds(options.latency);
    // Says what is wrong with them here rather than later.
    if (reconnect !== false) new Backoff(reconnect);
  }

  static canPlayType = canPlayType;
  static isSupported = isSupported;

  /* ── Source ──────────────────────────────────────────────────────── */

  get src() {
    return typeof this.#source === 'string' ? this.#source : null;
  }

  set src(url) {
    let absolute = null;
    if (url !== null) {
      try {
        absolute = new URL(url, globalThis.document?.baseURI).href;
      } catch { /* said below */ }
      if (!/^(ws|http)s?:/.test(absolute ?? '')) throw new TypeError(`src takes a ws, wss, http or https address or null, got ${describe(url)}`);
    }
    this.#setSource(absolute);
    if (absolute && this.#options.preload === 'auto') this.#prepare().catch(() => {});
  }

  get srcObject() {
    return typeof this.#source === 'string' ? null : this.#source;
  }

  set srcObject(source) {
    const socket = typeof WebSocket !== 'undefined' && source instanceof WebSocket;
    if (source !== null && !socket && !(/** @type {unknown} */ (source) instanceof ReadableStream)) {
      throw new TypeError(`srcObject takes a WebSocket, a ReadableStream of bytes or null, got ${describe(source)}`);
    }
    this.#setSource(source);
    // A socket delivers from now on whether anybody listens or not.
    if (socket) this.#prepare().catch(() => {});
  }

  /** @param {BufferSource} chunk @returns {Promise<void>} */
  async append(chunk) {
    const bytes = toBytes(chunk, 'append');
    if (this.#source) throw domError('append() while a source is set: set src and srcObject to null first', 'InvalidStateError');
    if (this.#sent - this.#taken + bytes.length > APPEND_LIMIT) {
      throw domError(`append() holds ${this.#sent - this.#taken} bytes already: await each append before the next`, 'QuotaExceededError');
    }
    const anew = this.#inputEnded || this.#ended;
    this.#inputEnded = this.#ended = false;
    this.#sent += bytes.length;
    const at = this.#sent - APPEND_WINDOW;
    // The engine takes it later, the caller may reuse its buffer now.
    const copy = bytes.slice();
    const core = await this.#prepare();
    if (core !== this.#core) return;
    core.call('append', copy, anew);
    if (this.#taken < at) await new Promise((resolve, reject) => this.#waiting.push({ at, resolve: () => resolve(undefined), reject }));
  }

  endOfStream() {
    if (this.#source) throw domError('endOfStream() belongs to append(); a source ends by itself', 'InvalidStateError');
    this.#inputEnded = true;
    this.#starting?.then((core) => core.call('end'), () => {});
  }

  /* ── Playback ────────────────────────────────────────────────────── */

  async unlock() {
    const output = this.#ensureOutput();
    if (!(await output.resume(PATIENCE_MS[1]))) {
      this.#emit('unlockrequired');
      throw domError('the browser keeps audio blocked: call unlock() first thing in a click or key handler', 'NotAllowedError');
    }
  }

  play() {
    // A failed or finished load starts over, as an element's does.
    if (this.#error || (this.#ended && this.src !== null)) this.#setSource(this.#source);
    this.#play ??= defer();
    const { promise } = this.#play;
    if (this.#paused) {
      this.#paused = false;
      this.#held = null;
      this.#emit('play');
      if (!this.#playing) this.#emit('waiting');
    }
    if (this.#playing) this.#settlePlay();
    void this.#begin();
    return promise;
  }

  async #begin() {
    const generation = this.#load;
    try {
      const output = this.#ensureOutput();
      const gesture = /** @type {any} */ (globalThis.navigator)?.userActivation?.hasBeenActive ? 1 : 0;
      const [core, allowed] = await Promise.all([this.#prepare(), output.resume(PATIENCE_MS[gesture])]);
      if (generation !== this.#load || this.#paused) return;
      if (!allowed) {
        this.#paused = true;
        this.#emit('unlockrequired');
        this.#settlePlay(domError('the browser blocks audio before a user gesture: call unlock() in a click or key handler, then play()', 'NotAllowedError'));
        this.#emit('pause');
        return;
      }
      if (this.#inputEnded) core.call('end');
      core.call('play');
    } catch (cause) {
      if (generation === this.#load) this.#fail(cause instanceof PlayerError ? cause : new PlayerError('decode', String(cause), { cause }));
    }
  }

  pause() {
    if (this.#paused) return;
    this.#paused = true;
    if (this.#core && this.#output) {
      const { cut } = this.#output;
      this.#held = this.#state(cut).time;
      this.#core.call('pause', cut);
    }
    this.#playing = false;
    this.#settlePlay(domError('play() was interrupted by pause()', 'AbortError'));
    this.#emit('timeupdate');
    this.#emit('pause');
  }

  /** @param {number | 'live'} to */
  async seek(to) {
    if (to !== 'live' && !(typeof to === 'number' && to >= 0 && Number.isFinite(to))) {
      throw new TypeError(`seek takes seconds from 0 up or 'live', got ${describe(to)}`);
    }
    const { framed, seekable } = this.#state();
    if (!framed) throw domError("this source cannot seek: use a Seamcast mount's ws or wss address", 'NotSupportedError');
    this.#seek?.reject(domError('another seek replaced this one', 'AbortError'));
    const done = this.#seek = defer();
    this.#ended = this.#playing = false;
    this.#held = to === 'live' ? seekable[1] : to;
    this.#core?.call('seek', to);
    this.#emit('seeking');
    if (!this.#paused) {
      this.#emit('waiting');
      this.#core?.call('play');
    }
    return done.promise;
  }

  flush() {
    const frame = this.#output?.cut ?? 0;
    const total = this.#state(frame).stats.totalDuration ?? 0;
    const playedSeconds = total - this.#flushed;
    this.#flushed = total;
    this.#playing = this.#inputEnded = false;
    this.#core?.call('flush', frame);
    this.#release();
    return { playedSeconds };
  }

  async close() {
    this.#setSource(null);
    const output = this.#output;
    this.#output = null;
    const worker = this.#worker;
    this.#worker = null;
    void worker?.then((one) => one?.terminate());
    await output?.close();
  }

  /* ── State ───────────────────────────────────────────────────────── */

  get currentTime() {
    return this.#held ?? this.#state().time;
  }

  set currentTime(seconds) {
    this.seek(seconds).catch((e) => {
      if (e instanceof TypeError) throw e;
    });
  }

  get duration() {
    return this.#duration;
  }

  get buffered() {
    const { time, end } = this.#state();
    return new Ranges([[time, end]]);
  }

  get seekable() {
    const { framed, seekable } = this.#state();
    return new Ranges(framed ? [seekable] : []);
  }

  get paused() {
    return this.#paused;
  }

  get ended() {
    return this.#ended;
  }

  get readyState() {
    return this.#readyState;
  }

  get error() {
    return this.#error;
  }

  get volume() {
    return this.#volume;
  }

  set volume(value) {
    if (!(value >= 0 && value <= 1)) throw domError(`volume takes 0 to 1, got ${String(value)}`, 'IndexSizeError');
    if (value === this.#volume) return;
    this.#volume = value;
    this.#applyGain();
    this.#emit('volumechange');
  }

  get muted() {
    return this.#muted;
  }

  set muted(value) {
    if (Boolean(value) === this.#muted) return;
    this.#muted = Boolean(value);
    this.#applyGain();
    this.#emit('volumechange');
  }

  get playbackRate() {
    return 1;
  }

  set playbackRate(value) {
    if (value !== 1) throw domError(`playbackRate ${value} is not supported: a live stream plays at 1`, 'NotSupportedError');
  }

  get sinkId() {
    return /** @type {any} */ (this.#output?.context)?.sinkId ?? '';
  }

  /** @param {string} id */
  async setSinkId(id) {
    const context = /** @type {any} */ (this.#ensureOutput().context);
    if (!context.setSinkId) throw domError('this browser cannot choose an output device', 'NotSupportedError');
    await context.setSinkId(id);
  }

  get context() {
    return this.#ensureOutput().context;
  }

  get node() {
    return this.#ensureOutput().node;
  }

  get latency() {
    const { time, end, age } = this.#state();
    return (this.#output?.delay ?? 0) + Math.max(0, age ?? end - time);
  }

  get targetLatency() {
    return this.getStats().prebuffer;
  }

  /** @returns {import('./index.js').PlayerStats} */
  getStats() {
    const { time, end, bytesReceived, stats } = this.#state();
    const remote = this.#core instanceof Remote;
    return {
      underrunEvents: 0, underrunDuration: 0, totalDuration: 0, averageLatency: 0, jitterBufferDelay: 0,
      jitterBufferTargetDelay: 0, arrivalRate: 0, arrivalSpreadP95: 0, startupDelay: 0, predictedSafeStart: 0, prebuffer: 0,
      resampleRatio: 1, driftPpm: 0, concealedFrames: 0, droppedFrames: 0, stretchedFrames: 0, decodeTimeMs: 0,
      ...stats,
      bufferDepth: end - time, bytesReceived, outputLatency: this.#output?.delay ?? 0,
      output: remote ? 'worklet' : 'buffers', thread: remote ? 'worker' : 'main',
    };
  }

  /* ── Inside ──────────────────────────────────────────────────────── */

  /** Fields are on the event and in `detail`. @param {string} type @param {Record<string, unknown>} [detail] */
  #emit(type, detail) {
    this.dispatchEvent(detail ? Object.assign(new CustomEvent(type, { detail }), detail) : new Event(type));
  }

  /** @returns {import('./core.js').State} */
  #state(frame = this.#output?.frame ?? 0) {
    return this.#core?.state(frame) ?? { frame, time: 0, start: Infinity, end: 0, framed: false, seekable: [0, 0], age: null, bytesReceived: 0, stats: {} };
  }

  #ensureOutput() {
    if (!this.#output) {
      this.#output = new Output(this.#options.context);
      this.#applyGain();
      this.#output.context.addEventListener('statechange', this.#onContext);
    }
    return this.#output;
  }

  #onContext = () => {
    const state = /** @type {string | undefined} */ (this.#output?.context.state);
    this.#core?.call('running', state === 'running');
    if (this.#paused || !this.#output || state === 'closed') return;
    if (state !== 'running') {
      // iOS says "interrupted" for calls and alarms; elsewhere "suspended" is the device going away.
      this.#emit('interrupted');
      if (state === 'suspended') void this.#output.context.resume().catch(() => {});
    }
  };

  #applyGain() {
    const gain = this.#muted ? 0 : this.#volume;
    // An untouched node passes samples through unchanged.
    if (this.#output && this.#output.node.gain.value !== gain) this.#output.setGain(gain);
  }

  /** Worker or not, and connection; once per source. */
  #prepare() {
    return (this.#starting ??= this.#start(this.#load));
  }

  /** @param {number} load @returns {Promise<Core | Remote>} */
  async #start(load) {
    const { mode, stretch = 0, reconnect, wasmUrl, output: wish = 'buffers', thread } = this.#options;
    const source = this.#source;
    const output = this.#ensureOutput();
    const options = { source, mode, latency: this.#latency, stretch, reconnect, wasmUrl: wasmUrl && new URL(wasmUrl, globalThis.document?.baseURI).href };
    /** @param {string} type @param {any} [detail] */
    const tell = (type, detail) => {
      if (load === this.#load) this.#on(type, detail);
    };
    // A socket or stream handed over lives on this thread, and delivers from now on.
    const remote = wish !== 'buffers' && thread !== 'main' && hasWorklet() && (!source || typeof source === 'string');
    const core = (remote && await this.#remote(output, load, tell)) || new Core(options, tell);
    if (load !== this.#load) throw domError('the source was changed', 'AbortError');
    this.#core = core;
    if (core instanceof Core) core.attach(output);
    else {
      core.call('open', options);
      core.call('running', output.running);
    }
    return core;
  }

  /**
   * A worker at one end and a worklet at the other; null where the browser or its policy does not let us.
   * @param {Output} output @param {number} load @param {(type: string, detail?: any) => void} tell
   */
  async #remote(output, load, tell) {
    this.#worker ??= spawn(this.#options.workerUrl);
    const [worker, way] = await Promise.all([this.#worker, (output.way ??= output.worklet(this.#options.workletUrl)).catch(() => null)]);
    if (!worker || !way || load !== this.#load) return null;
    const remote = new Remote(worker, load, output.rate, tell);
    if (!output.fed) remote.call('attach', way);
    output.fed = true;
    return remote;
  }

  /** Lets those go on whose appends wait. @param {unknown} [failure] */
  #release(failure) {
    for (const { resolve, reject } of this.#waiting.splice(0)) failure ? reject(failure) : resolve();
  }

  /** Ends what was and begins anew with `source`; the output stays. @param {import('./link.js').Source | null} source */
  #setSource(source) {
    this.#load += 1;
    const had = this.#starting !== null;
    this.#core?.call('close');
    this.#core = this.#starting = null;
    this.#release();
    this.#source = source;
    this.#inputEnded = this.#ended = this.#playing = false;
    this.#error = this.#held = null;
    this.#readyState = this.#sent = this.#taken = this.#flushed = 0;
    this.#duration = NaN;
    const aborted = domError('the source was changed or closed', 'AbortError');
    this.#seek?.reject(aborted);
    this.#seek = null;
    this.#settlePlay(aborted);
    this.#paused = true;
    if (had) this.#emit('emptied');
  }

  /** @param {unknown} [failure] */
  #settlePlay(failure) {
    if (failure) this.#play?.reject(failure);
    else this.#play?.resolve();
    this.#play = null;
  }

  /** @param {PlayerError} error */
  #fail(error) {
    if (this.#error) return;
    this.#core?.call('stop');
    this.#error = error;
    this.#playing = false;
    this.#paused = true;
    this.#settlePlay(error);
    this.#seek?.reject(error);
    this.#seek = null;
    this.#release(error);
    this.#emit('error', { error });
  }

  /* ── What the core tells ─────────────────────────────────────────── */

  /** @param {string} type @param {any} [detail] */
  #on(type, detail) {
    switch (type) {
      case 'state':
        this.#watch();
        break;
      case 'taken':
        this.#taken = detail.taken;
        this.#waiting = this.#waiting.filter(({ at, resolve }) => at > this.#taken || resolve());
        break;
      case 'fail':
        this.#fail(detail.error);
        break;
      case 'duration':
        this.#setDuration(detail.seconds);
        break;
      case 'loadedmetadata':
        this.#readyState = Math.max(this.#readyState, 1);
        if (Number.isNaN(this.#duration)) this.#setDuration(Infinity);
        this.#emit(type, detail);
        break;
      case 'canplay':
        this.#readyState = Math.max(this.#readyState, 3);
        this.#emit(type);
        if (this.#paused) this.#seeked();
        break;
      case 'playing':
        this.#playing = true;
        this.#readyState = 4;
        this.#seeked();
        this.#emit(type);
        this.#settlePlay();
        break;
      case 'waiting':
        this.#playing = false;
        this.#readyState = Math.min(this.#readyState, 2);
        if (!this.#paused) this.#emit(type);
        break;
      case 'metadata':
        this.#emit(type, { at: detail.at, tags: detail.json ? JSON.parse(detail.json) : tagsOf(detail.tags) });
        break;
      case 'ended':
        this.#finish();
        break;
      default:
        this.#emit(type, detail);
    }
  }

  #seeked() {
    if (!this.#seek) return;
    this.#held = null;
    this.#seek.resolve();
    this.#seek = null;
    this.#emit('timeupdate');
    this.#emit('seeked');
  }

  #finish() {
    this.#playing = false;
    this.#ended = true;
    if (!Number.isFinite(this.#duration)) this.#setDuration(this.currentTime);
    this.#settlePlay();
    this.#emit('timeupdate');
    this.#paused = true;
    this.#emit('pause');
    this.#emit('ended');
  }

  /** @param {number} seconds */
  #setDuration(seconds) {
    if (seconds === this.#duration) return;
    this.#duration = seconds;
    this.#emit('durationchange');
  }

  /** What is due by the clock. */
  #watch() {
    const output = this.#output;
    if (!output) return;
    const t = now();
    if (this.#playing && t - this.#toldTime >= TIMEUPDATE_MS) {
      this.#toldTime = t;
      this.#emit('timeupdate');
    }
    const { frame } = output;
    if (frame !== this.#frozen.frame || !output.running || !this.#playing) this.#frozen = { frame, since: t };
    else if (output.owned && t - this.#frozen.since > FROZEN_MS) void this.#rebuild(output);
  }

  /** The device behind the context is gone for good (sleep, unplugged): a new context goes on where the old one stood. @param {Output} old */
  async #rebuild(old) {
    const core = this.#core;
    this.#emit('interrupted');
    if (!core || old !== this.#output) return;
    old.context.removeEventListener('statechange', this.#onContext);
    this.#output = null;
    void old.close().catch(() => {});
    const output = this.#ensureOutput();
    this.#frozen = { frame: -1, since: now() };
    if (core instanceof Core) return core.attach(output);
    const way = await (output.way = output.worklet(this.#options.workletUrl));
    output.fed = true;
    core.call('attach', way);
    core.call('running', output.running);
  }
}
