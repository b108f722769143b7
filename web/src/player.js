// @ts-check
/** The `Player`: ties a source, the engine and the output together, and speaks HTMLMediaElement. */
import { Engine } from '../dist/player/glue.js';
import { Appender } from './appender.js';
import { PlayerError, describe, domError, toBytes } from './errors.js';
import { Link } from './link.js';
import { Output } from './output.js';
import { Ranges } from './ranges.js';
import { Backoff } from './reconnect.js';
import { canPlayType, isSupported } from './support.js';
import { load } from './wasm.js';

/** @typedef {import('./index.js').PlayerOptions} PlayerOptions */
/** @typedef {{promise: Promise<void>, resolve: () => void, reject: (e: unknown) => void}} Deferred */

const PUMP_MS = 40;
/** Appends closer together than this are worked on together. */
const SOON_MS = 5;
const TIMEUPDATE_MS = 250;
const REPORT_MS = 5000;
/** No media for this long while more is expected: `stalled`, as in HTML. */
const STALLED_MS = 3000;
/** A running context whose clock stands still this long is broken and built anew. */
const FROZEN_MS = 4000;
/** How long to wait for a context to run before calling it blocked: with and without a gesture so far. */
const PATIENCE_MS = [1000, 3000];
/** An endless stream of which nothing is playable is given up after this long. */
const UNPLAYABLE_MS = 15_000;

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
  /** @type {Backoff | null} */
  #backoff;
  /** @type {Output | null} */
  #output = null;
  /** @type {Engine | null} */
  #engine = null;
  /** @type {Promise<void> | null} */
  #starting = null;
  /** Changes with every load, so that late answers of an earlier one are dropped. */
  #load = 0;

  /** @type {import('./link.js').Source | null} */
  #source = null;
  /** @type {Link | null} */
  #link = null;
  #appender = new Appender();
  /** `endOfStream()` was called: what is appended next is another stream. */
  #inputEnded = false;

  #paused = true;
  #ended = false;
  /** When #run() last ran, ms, and the timer for its next run. */
  #ranAt = -Infinity;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #soonTimer;
  #playing = false;
  #readyState = 0;
  #duration = NaN;
  /** @type {PlayerError | null} */
  #error = null;
  /** Told once what is buffered has been played. @type {PlayerError | null} */
  #lateError = null;
  /** @type {Deferred | null} */
  #play = null;
  /** @type {Deferred | null} */
  #seek = null;

  #volume = 1;
  #muted = false;
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #pump = undefined;
  #frozen = { frame: -1, since: 0 };
  #told = { time: 0, report: 0, stalled: false };
  /** What the engine last found wrong with the input. */
  #complaint = '';
  #engineMs = 0;
  #playAt = 0;
  #startupDelay = 0;

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
    this.#backoff = reconnect === false ? null : new Backoff(reconnect);
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
    if (this.#inputEnded || this.#ended) {
      this.#inputEnded = this.#ended = false;
      this.#appender.drop();
      this.#engine?.seek(now(), 0);
      this.#output?.cancel();
    }
    const taken = this.#appender.push(bytes);
    taken.catch(() => {});
    await this.#prepare();
    this.#soon();
    return taken;
  }

  endOfStream() {
    if (this.#source) throw domError('endOfStream() belongs to append(); a source ends by itself', 'InvalidStateError');
    this.#inputEnded = this.#appender.ending = true;
    this.#run();
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
      this.#playAt = now();
      this.#emit('play');
      if (!this.#playing) this.#emit('waiting');
    } else if (this.#playing) {
      this.#settlePlay();
    }
    void this.#begin();
    return promise;
  }

  async #begin() {
    const generation = this.#load;
    try {
      const output = this.#ensureOutput();
      const gesture = /** @type {any} */ (globalThis.navigator)?.userActivation?.hasBeenActive ? 1 : 0;
      const [, allowed] = await Promise.all([this.#prepare(), output.resume(PATIENCE_MS[gesture])]);
      if (generation !== this.#load || this.#paused) return;
      if (!allowed) {
        this.#paused = true;
        this.#emit('unlockrequired');
        this.#settlePlay(domError('the browser blocks audio before a user gesture: call unlock() in a click or key handler, then play()', 'NotAllowedError'));
        this.#emit('pause');
        return;
      }
      this.#engine?.play(now());
      this.#run();
    } catch (cause) {
      if (generation === this.#load) this.#fail(cause instanceof PlayerError ? cause : new PlayerError('decode', String(cause), { cause }));
    }
  }

  pause() {
    if (this.#paused) return;
    this.#paused = true;
    this.#playing = false;
    if (this.#engine && this.#output) {
      this.#engine.pause(now(), this.#output.frame);
      this.#run();
    }
    this.#settlePlay(domError('play() was interrupted by pause()', 'AbortError'));
    this.#emit('timeupdate');
    this.#emit('pause');
  }

  /** @param {number | 'live'} to */
  async seek(to) {
    if (to !== 'live' && !(typeof to === 'number' && to >= 0 && Number.isFinite(to))) {
      throw new TypeError(`seek takes seconds from 0 up or 'live', got ${describe(to)}`);
    }
    const link = this.#link;
    if (!link?.framed) throw domError("this source cannot seek: use a Seamcast mount's ws or wss address", 'NotSupportedError');
    this.#seek?.reject(domError('another seek replaced this one', 'AbortError'));
    const done = this.#seek = defer();
    this.#ended = this.#playing = false;
    this.#engine?.seek(now(), to === 'live' ? this.seekable.end(0) : to);
    this.#output?.cancel();
    this.#emit('seeking');
    if (!this.#paused) {
      this.#emit('waiting');
      this.#engine?.play(now());
    }
    link.seek(to);
    this.#run();
    return done.promise;
  }

  flush() {
    this.#appender.drop();
    const playedSeconds = this.#engine && this.#output ? this.#engine.flush(now(), this.#output.frame) : 0;
    this.#playing = this.#inputEnded = false;
    this.#run();
    return { playedSeconds };
  }

  async close() {
    this.#setSource(null);
    const output = this.#output;
    this.#output = null;
    await output?.close();
  }

  /* ── State ───────────────────────────────────────────────────────── */

  get currentTime() {
    return this.#engine && this.#output ? this.#engine.currentTime(this.#output.frame) : 0;
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
    const held = this.#engine && this.#output ? this.#engine.buffered(this.#output.frame) : [];
    return new Ranges(held.length === 2 ? [[held[0], held[1]]] : []);
  }

  get seekable() {
    return new Ranges(this.#link?.framed ? [this.#link.session.seekable] : []);
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
    const delay = this.#output?.delay ?? 0;
    const age = this.#link?.age(this.currentTime) ?? null;
    return delay + (age === null ? this.#depth() : Math.max(0, age));
  }

  get targetLatency() {
    return this.getStats().prebuffer;
  }

  #depth() {
    const { buffered } = this;
    return buffered.length ? Math.max(0, buffered.end(0) - Math.max(buffered.start(0), this.currentTime)) : 0;
  }

  /** @returns {import('./index.js').PlayerStats} */
  getStats() {
    const measured = this.#engine && this.#output ? this.#engine.stats(this.#output.frame) : {};
    return {
      underrunEvents: 0, underrunDuration: 0, totalDuration: 0, averageLatency: 0, jitterBufferDelay: 0,
      jitterBufferTargetDelay: 0, arrivalRate: 0, arrivalSpreadP95: 0, predictedSafeStart: 0, prebuffer: 0,
      resampleRatio: 1, driftPpm: 0, concealedFrames: 0, droppedFrames: 0, stretchedFrames: 0,
      decodeTimeMs: this.#engineMs, startupDelay: this.#startupDelay,
      ...measured,
      bufferDepth: this.#depth(), bytesReceived: this.#bytesReceived(), outputLatency: this.#output?.delay ?? 0,
      output: 'buffers', thread: 'main',
    };
  }

  /* ── Inside ──────────────────────────────────────────────────────── */

  /** Fields are on the event and in `detail`. @param {string} type @param {Record<string, unknown>} [detail] */
  #emit(type, detail) {
    this.dispatchEvent(detail ? Object.assign(new CustomEvent(type, { detail }), detail) : new Event(type));
  }

  #ensureOutput() {
    if (!this.#output) {
      this.#output = new Output(this.#options.context);
      this.#applyGain();
      this.#output.context.addEventListener('statechange', this.#onContext);
      if (this.#engine) this.#output.attach(this.#engine);
    }
    return this.#output;
  }

  #onContext = () => {
    const state = /** @type {string | undefined} */ (this.#output?.context.state);
    if (this.#paused || !this.#output || state === 'closed') return;
    if (state === 'running') this.#run();
    else {
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

  #bytesReceived() {
    return this.#link?.bytesReceived ?? this.#appender.bytesReceived;
  }

  /** Module, engine and connection; once per source. */
  #prepare() {
    const generation = this.#load;
    this.#starting ??= (async () => {
      // At once: a socket handed over delivers from now on, and a new one takes its time as the module does.
      if (this.#source) {
        this.#link = new Link(this.#source, { mode: this.#options.mode, backoff: this.#backoff }, this.#host);
        this.#link.connect();
      }
      await load(this.#options.wasmUrl);
      if (generation !== this.#load) throw domError('the source was changed', 'AbortError');
      const engine = new Engine(this.#options.mode, ...this.#latency);
      engine.setStretch(this.#options.stretch ?? 0);
      this.#ensureOutput().attach(engine);
      this.#engine = engine;
      this.#pump ??= setInterval(() => this.#run(), PUMP_MS);
      this.#link?.start(engine);
    })();
    return this.#starting;
  }

  /** What the link asks of us. @type {import('./link.js').Host} */
  #host = {
    work: (work) => {
      this.#timed(work);
      this.#run();
    },
    emit: (type, detail) => this.#emit(type, detail),
    fail: (error) => this.#fail(error),
    lost: (error) => {
      // What has arrived is still played; the failure is told after it.
      if (!this.#playing) this.#fail(error);
      else {
        this.#lateError = error;
        this.#engine?.endOfStream(now());
      }
    },
    duration: (seconds) => this.#setDuration(seconds),
    room: () => (this.#engine ? this.#appender.room(this.#engine) : Promise.resolve()),
  };

  /** Ends what was and begins anew with `source`; the output stays. @param {import('./link.js').Source | null} source */
  #setSource(source) {
    this.#load += 1;
    const had = this.#starting !== null;
    this.#stop();
    this.#output?.cancel();
    this.#engine?.free();
    this.#engine = this.#starting = this.#link = null;
    this.#appender.drop();
    this.#appender = new Appender();
    this.#source = source;
    this.#inputEnded = this.#ended = this.#playing = false;
    this.#error = this.#lateError = null;
    this.#readyState = 0;
    this.#duration = NaN;
    this.#complaint = '';
    this.#engineMs = this.#startupDelay = 0;
    this.#backoff?.reset();
    const aborted = domError('the source was changed or closed', 'AbortError');
    this.#seek?.reject(aborted);
    this.#seek = null;
    this.#settlePlay(aborted);
    this.#paused = true;
    if (had) this.#emit('emptied');
  }

  /** Network and clockwork. */
  #stop() {
    this.#link?.close();
    clearInterval(this.#pump);
    this.#pump = undefined;
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
    this.#stop();
    this.#error = error;
    this.#playing = false;
    this.#paused = true;
    this.#settlePlay(error);
    this.#seek?.reject(error);
    this.#seek = null;
    this.#emit('error', { error });
  }

  /* ── Engine ──────────────────────────────────────────────────────── */

  /** A trap leaves the module unusable: it is a failure of ours and said as one. @param {() => void} work */
  #timed(work) {
    const began = now();
    try {
      work();
    } catch (cause) {
      this.#fail(new PlayerError('decode', `the engine failed (${/** @type {Error} */ (cause)?.message ?? cause})`, { cause, remedy: 'reload the page and report the stream' }));
    }
    this.#engineMs += now() - began;
  }

  /** As #run(), but what comes in many small pieces is taken at once and worked on together. */
  #soon() {
    const engine = this.#engine;
    if (!engine || now() - this.#ranAt > SOON_MS) return this.#run();
    this.#timed(() => this.#appender.drain(engine, now()));
    this.#soonTimer ??= setTimeout(() => this.#run(), SOON_MS);
  }

  #run() {
    clearTimeout(this.#soonTimer);
    this.#soonTimer = undefined;
    this.#ranAt = now();
    const engine = this.#engine;
    const output = this.#output;
    if (!engine || !output || this.#error) return;
    this.#timed(() => {
      this.#appender.drain(engine, now());
      const events = engine.poll(now(), output.frame);
      for (const event of events) if (event.type === 'cancel') output.cancel(event.frame);
      output.schedule(engine);
      for (const event of events) {
        this.#onEngine(event);
        // A listener may have closed the player or set another source.
        if (engine !== this.#engine) return;
      }
    });
    if (engine === this.#engine && !this.#error) this.#chores(engine, output);
  }

  /** @param {any} event */
  #onEngine(event) {
    const { type, ...detail } = event;
    switch (type) {
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
        if (!this.#startupDelay) this.#startupDelay = (now() - this.#playAt) / 1000 + this.#until(event.frame);
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
        this.#emit(type, { at: event.at, tags: event.json ? JSON.parse(event.json) : tagsOf(event.tags) });
        break;
      case 'decodeerror':
        this.#complaint = event.message;
        this.#emit(type, detail);
        break;
      case 'overflow':
        this.#emit('decodeerror', { message: 'input was dropped: it came faster than it is played and could not be held back', offset: 0, framesLost: 0 });
        break;
      case 'ended':
        this.#finish();
        break;
      case 'cancel':
        break;
      default:
        this.#emit(type, detail);
    }
  }

  /** Seconds until a context frame. @param {number} [frame] */
  #until(frame) {
    return this.#output && frame !== undefined ? Math.max(0, (frame - this.#output.frame) / this.#output.context.sampleRate) : 0;
  }

  #seeked() {
    if (!this.#seek) return;
    this.#seek.resolve();
    this.#seek = null;
    this.#emit('timeupdate');
    this.#emit('seeked');
  }

  #finish() {
    this.#playing = false;
    if (this.#lateError) {
      this.#fail(this.#lateError);
      return;
    }
    if (this.#readyState === 0 && this.#bytesReceived()) {
      this.#fail(this.#unplayable());
      return;
    }
    this.#ended = true;
    if (!Number.isFinite(this.#duration)) this.#setDuration(this.currentTime);
    this.#settlePlay();
    this.#emit('timeupdate');
    this.#paused = true;
    this.#emit('pause');
    this.#emit('ended');
  }

  #unplayable() {
    return new PlayerError('unsupported_media', `${this.#bytesReceived()} bytes arrived and none was playable${this.#complaint && `, ${this.#complaint}`}`);
  }

  /** @param {number} seconds */
  #setDuration(seconds) {
    if (seconds === this.#duration) return;
    this.#duration = seconds;
    this.#emit('durationchange');
  }

  /** What is due by the clock. @param {Engine} engine @param {Output} output */
  #chores(engine, output) {
    const t = now();
    const link = this.#link;
    if (this.#playing && t - this.#told.time >= TIMEUPDATE_MS) {
      this.#told.time = t;
      this.#emit('timeupdate');
    }
    if (t - this.#told.report >= REPORT_MS) {
      this.#told.report = t;
      link?.report(this.currentTime, this.#depth(), this.getStats().underrunEvents);
    }
    if (!engine.full && !this.#paused) link?.unpark(this.#depth());
    const late = link?.state === 'open' && !engine.full && !this.#paused && t - link.lastArrival > STALLED_MS;
    if (late && !this.#told.stalled) this.#emit('stalled');
    this.#told.stalled = Boolean(late);
    if (!this.#readyState && this.#complaint && link && t - link.firstArrival > UNPLAYABLE_MS) {
      this.#fail(this.#unplayable());
      return;
    }
    const { frame } = output;
    if (frame !== this.#frozen.frame || output.context.state !== 'running' || !this.#playing) this.#frozen = { frame, since: t };
    else if (output.owned && t - this.#frozen.since > FROZEN_MS) this.#rebuild();
  }

  /** The device behind the context is gone for good (sleep, unplugged): a new context goes on where the old one stood. */
  #rebuild() {
    const old = this.#output;
    if (!old || !this.#engine) return;
    this.#emit('interrupted');
    old.context.removeEventListener('statechange', this.#onContext);
    this.#output = null;
    void old.close().catch(() => {});
    this.#ensureOutput();
    this.#engine.play(now());
  }
}
