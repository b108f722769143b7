// @ts-check
/** The `Player`: ties a source, the engine and the output together, and speaks HTMLMediaElement. */
import { Engine } from '../dist/player/glue.js';
import { PlayerError, describe, domError, toBytes } from './errors.js';
import { Output, hasWebAudio } from './output.js';
import { Ranges } from './ranges.js';
import { Backoff } from './reconnect.js';
import { Session, seekMessage, statsMessage, timeMessage } from './session.js';
import { attach, open } from './transport.js';
import { hasSimd, load } from './wasm.js';

/** @typedef {import('./index.js').PlayerOptions} PlayerOptions */
/** @typedef {{promise: Promise<void>, resolve: () => void, reject: (e: unknown) => void}} Deferred */

const PUMP_MS = 40;
const TIMEUPDATE_MS = 250;
const REPORT_MS = 5000;
/** No media for this long while more is expected: `stalled`, as in HTML. */
const STALLED_MS = 3000;
/** A running context whose clock stands still this long is broken and built anew. */
const FROZEN_MS = 4000;
/** How long to wait for a context to run before calling it blocked: with and without a gesture so far. */
const PATIENCE_MS = [1000, 3000];
/** Retries of a source from which nothing has come yet. */
const FIRST_ATTEMPTS = 3;
/** How long a mount that played may be missing: a relay was restarted and its source is not back yet. */
const MOUNT_GONE_MS = 60_000;
/** Buffer at which a parked connection is made again, seconds: low enough that it is not dropped at once. */
const UNPARK_BELOW = 8;
/** Most bytes `append()` holds for an engine that is full. */
const APPEND_LIMIT = 64 << 20;

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
  /** @type {Promise<Engine> | null} */
  #starting = null;
  /** Changes with every load, so that late answers of an earlier one are dropped. */
  #load = 0;

  /** @type {string | null} */
  #src = null;
  /** @type {WebSocket | ReadableStream<Uint8Array> | null} */
  #srcObject = null;
  /** @type {import('./transport.js').Connection | null} */
  #connection = null;
  #session = new Session();
  #framed = false;
  /** Whether the server speaks `seamcast.v1`; null until a socket has opened. @type {boolean | null} */
  #dialect = null;
  /** @type {'idle' | 'connecting' | 'open' | 'retrying' | 'parked' | 'done'} */
  #network = 'idle';
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #retryTimer = undefined;
  /** @type {{afterMs: number, url: string | null} | null} */
  #goaway = null;
  /** Whether media has to flow before `reconnected` is told. */
  #rejoining = false;
  #recovered = false;
  #lostAt = 0;
  #serverSaid = '';

  /** @type {{bytes: Uint8Array, done: Deferred}[]} */
  #queue = [];
  #queued = 0;
  #inputEnded = false;
  /** @type {(() => void)[]} */
  #waitingForRoom = [];

  #paused = true;
  #ended = false;
  #playing = false;
  #readyState = 0;
  #duration = NaN;
  /** @type {PlayerError | null} */
  #error = null;
  /** Told once what is buffered has been played. @type {PlayerError | null} */
  #lateError = null;
  /** @type {Deferred | null} */
  #play = null;
  /** @type {{done: Deferred, dropping: boolean} | null} */
  #seek = null;

  #volume = 1;
  #muted = false;
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #pump = undefined;
  #frozen = { frame: -1, since: 0 };
  #told = { time: 0, report: 0, stalled: false };
  #lastArrival = 0;
  #headIngest = 0;
  #headTime = 0;
  #bytesReceived = 0;
  #engineMs = 0;
  #playAt = 0;
  #startupDelay = 0;
  #onOnline = () => this.#network === 'retrying' && this.#connect();

  /** @param {PlayerOptions} [options] */
  constructor(options = {}) {
    super();
    const { mode = 'live', preload = 'none', reconnect } = options;
    if (mode !== 'live' && mode !== 'complete') throw new TypeError(`mode takes 'live' or 'complete', got ${describe(mode)}`);
    this.#options = { ...options, mode, preload };
    this.#latency = bounds(options.latency);
    this.#backoff = reconnect === false ? null : new Backoff(reconnect);
  }

  /** @param {string} type */
  static canPlayType(type) {
    const [, kind = '', rest = ''] = /^\s*([\w.+-]+\/[\w.+-]+)\s*(.*)$/.exec(String(type).toLowerCase()) ?? [];
    const codecs = /codecs\s*=\s*"?([^";]*)/.exec(rest)?.[1].trim();
    if (/^(audio\/(mpeg|mp3|x-mp3|mpeg3))$/.test(kind)) return !codecs || codecs === 'mp3' ? 'probably' : '';
    if (/^(audio|application)\/(x-)?ogg$/.test(kind) || kind === 'audio/opus') return codecs ? (codecs === 'opus' ? 'probably' : '') : 'maybe';
    return '';
  }

  static isSupported() {
    const webAssembly = typeof WebAssembly !== 'undefined';
    const report = {
      webAudio: hasWebAudio(), webAssembly, simd: webAssembly && hasSimd(),
      webSocket: typeof WebSocket !== 'undefined',
      fetchStreams: typeof Response !== 'undefined' && 'body' in Response.prototype,
      audioWorklet: typeof AudioWorkletNode !== 'undefined' && globalThis.isSecureContext === true,
      sharedMemory: globalThis.crossOriginIsolated === true && typeof SharedArrayBuffer !== 'undefined',
    };
    return { supported: report.webAudio && webAssembly, ...report };
  }

  /* ── Source ──────────────────────────────────────────────────────── */

  get src() {
    return this.#src;
  }

  set src(url) {
    let absolute = null;
    if (url !== null) {
      try {
        absolute = new URL(url, globalThis.document?.baseURI).href;
      } catch {
        throw new TypeError(`src takes a ws, wss, http or https address or null, got ${describe(url)}`);
      }
      if (!/^(ws|http)s?:/.test(absolute)) throw new TypeError(`src takes a ws, wss, http or https address or null, got ${describe(url)}`);
    }
    this.#reset();
    this.#src = absolute;
    if (absolute && this.#options.preload === 'auto') void this.#prepare().catch(() => {});
  }

  get srcObject() {
    return this.#srcObject;
  }

  set srcObject(source) {
    const socket = typeof WebSocket !== 'undefined' && source instanceof WebSocket;
    if (source !== null && !socket && !(source instanceof ReadableStream)) {
      throw new TypeError(`srcObject takes a WebSocket, a ReadableStream of bytes or null, got ${describe(source)}`);
    }
    this.#reset();
    this.#srcObject = source;
    // A socket delivers from now on whether anybody listens or not.
    if (socket) void this.#prepare().catch(() => {});
  }

  /** @param {BufferSource} chunk @returns {Promise<void>} */
  append(chunk) {
    let bytes;
    try {
      bytes = toBytes(chunk, 'append');
      if (this.#src !== null || this.#srcObject) throw domError('append() while a source is set: set src and srcObject to null first', 'InvalidStateError');
      if (this.#queued + bytes.length > APPEND_LIMIT) throw domError(`append() holds ${this.#queued} bytes already: await each append before the next`, 'QuotaExceededError');
    } catch (e) {
      return Promise.reject(e);
    }
    if (this.#inputEnded || this.#ended) this.#newStream();
    this.#network = 'open';
    this.#bytesReceived += bytes.length;
    if (this.#engine && !this.#queue.length && !this.#engine.full) {
      this.#take(bytes);
      return this.#room();
    }
    const done = defer();
    this.#queued += bytes.length;
    // The engine takes it later, the caller may reuse its buffer now.
    this.#queue.push({ bytes: bytes.slice(), done });
    this.#prepare().then(() => this.#drain(), (e) => done.reject(e));
    return done.promise;
  }

  endOfStream() {
    if (this.#src !== null || this.#srcObject) throw domError('endOfStream() belongs to append(); a source ends by itself', 'InvalidStateError');
    this.#inputEnded = true;
    this.#network = 'done';
    if (this.#engine && !this.#queue.length) this.#endInput();
  }

  /** Drops what remains of an earlier programme when more is appended. */
  #newStream() {
    this.#inputEnded = this.#ended = false;
    this.#engine?.seek(now(), 0);
    this.#output?.cancel();
  }

  /** @returns {Promise<void>} Resolved when the engine takes more. */
  #room() {
    return this.#engine?.full ? new Promise((resolve) => void this.#waitingForRoom.push(resolve)) : Promise.resolve();
  }

  #drain() {
    while (this.#engine && !this.#engine.full && this.#queue.length) {
      const { bytes, done } = /** @type {{bytes: Uint8Array, done: Deferred}} */ (this.#queue.shift());
      this.#queued -= bytes.length;
      this.#take(bytes);
      void this.#room().then(done.resolve);
    }
    if (this.#inputEnded && !this.#queue.length && this.#network === 'done') this.#endInput();
  }

  #dropQueue() {
    const dropped = this.#queue.splice(0);
    this.#queued = 0;
    for (const { done } of dropped) done.resolve();
    for (const resolve of this.#waitingForRoom.splice(0)) resolve();
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
    if (this.#error) {
      // A failed load starts over, as an element's does when src is set again.
      const { src } = this;
      this.#reset();
      this.#src = src;
    } else if (this.#ended && this.#src !== null) {
      const { src } = this;
      this.#reset();
      this.#src = src;
    }
    if (!this.#play) this.#play = defer();
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
    if (!this.#framed) throw domError("this source cannot seek: use a Seamcast mount's ws or wss address", 'NotSupportedError');
    const target = to === 'live' ? this.seekable.end(0) : to;
    this.#seek?.done.reject(domError('another seek replaced this one', 'AbortError'));
    const done = defer();
    this.#seek = { done, dropping: this.#network === 'open' };
    this.#ended = false;
    this.#playing = false;
    this.#engine?.seek(now(), target);
    this.#output?.cancel();
    this.#emit('seeking');
    if (!this.#paused) this.#emit('waiting');
    const from = to === 'live' ? 'live' : target.toFixed(3);
    if (this.#network === 'open') this.#connection?.send(seekMessage(from));
    else this.#connect(from);
    if (!this.#paused) this.#engine?.play(now());
    this.#run();
    return done.promise;
  }

  flush() {
    this.#dropQueue();
    const playedSeconds = this.#engine && this.#output ? this.#engine.flush(now(), this.#output.frame) : 0;
    this.#playing = false;
    this.#inputEnded = false;
    this.#run();
    return { playedSeconds };
  }

  async close() {
    this.#reset();
    globalThis.removeEventListener?.('online', this.#onOnline);
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
    return new Ranges(this.#framed ? [this.#session.seekable] : []);
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
    const { clockOffset } = this.#session;
    if (!this.#framed || clockOffset === null || !this.#headIngest) return this.#depth() + delay;
    // What is audible came in as long before the newest chunk as it lies before it in the programme.
    const sinceHead = (Date.now() + clockOffset - this.#headIngest) / 1000;
    return Math.max(0, sinceHead + this.#headTime - this.currentTime + delay);
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
      resampleRatio: 1, driftPpm: 0, concealedFrames: 0, droppedFrames: 0,
      decodeTimeMs: this.#engineMs, startupDelay: this.#startupDelay,
      ...measured,
      bufferDepth: this.#depth(), bytesReceived: this.#bytesReceived, outputLatency: this.#output?.delay ?? 0,
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

  /** Module, engine and connection; once per load. */
  #prepare() {
    const generation = this.#load;
    this.#starting ??= (async () => {
      // At once: a socket handed over delivers from now on, and a new one takes its time as the module does.
      if (this.#src !== null || this.#srcObject) this.#connect();
      await load(this.#options.wasmUrl);
      if (generation !== this.#load) throw domError('the source was changed', 'AbortError');
      const engine = new Engine(this.#options.mode, ...this.#latency);
      this.#ensureOutput().attach(engine);
      this.#engine = engine;
      this.#pump ??= setInterval(() => this.#run(), PUMP_MS);
      for (const early of this.#early.splice(0)) early();
      return engine;
    })();
    return this.#starting;
  }

  /** What arrived while the module was loading. @type {(() => void)[]} */
  #early = [];

  /** Frees the engine and forgets the source; the context stays. */
  #reset() {
    this.#load += 1;
    const had = this.#readyState > 0 || this.#network !== 'idle';
    this.#disconnect();
    this.#dropQueue();
    clearInterval(this.#pump);
    this.#pump = undefined;
    this.#output?.cancel();
    this.#engine?.free();
    this.#engine = null;
    this.#starting = null;
    this.#early = [];
    this.#src = this.#srcObject = null;
    this.#session = new Session();
    this.#framed = this.#rejoining = this.#inputEnded = this.#ended = this.#playing = false;
    this.#dialect = null;
    this.#network = 'idle';
    this.#goaway = this.#error = this.#lateError = null;
    this.#readyState = 0;
    this.#duration = NaN;
    this.#bytesReceived = this.#engineMs = this.#startupDelay = this.#headIngest = 0;
    this.#backoff?.reset();
    const aborted = domError('the source was changed or closed', 'AbortError');
    this.#seek?.done.reject(aborted);
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
    this.#disconnect();
    this.#network = 'done';
    this.#error = error;
    this.#playing = false;
    this.#paused = true;
    clearInterval(this.#pump);
    this.#pump = undefined;
    this.#settlePlay(error);
    this.#seek?.done.reject(error);
    this.#seek = null;
    this.#emit('error', { error });
  }

  /* ── Network ─────────────────────────────────────────────────────── */

  #disconnect() {
    clearTimeout(this.#retryTimer);
    this.#connection?.close();
    this.#connection = null;
  }

  /** @param {string} [from] */
  #connect(from) {
    this.#disconnect();
    this.#network = 'connecting';
    globalThis.addEventListener?.('online', this.#onOnline);
    const handlers = {
      open: (/** @type {boolean} */ framed) => {
        this.#network = 'open';
        this.#framed = framed;
        this.#dialect = framed;
        this.#lastArrival = now();
        if (framed) this.#connection?.send(timeMessage(Date.now()));
      },
      bytes: (/** @type {Uint8Array} */ bytes) => this.#receive(bytes),
      text: (/** @type {string} */ message) => this.#whenReady(() => this.#control(message)),
      close: (/** @type {import('./transport.js').Closed} */ closed) => this.#whenReady(() => this.#closed(closed)),
    };
    try {
      this.#connection = this.#srcObject ? attach(this.#srcObject, handlers) : open(this.#address(from), handlers, this.#dialect);
    } catch (cause) {
      this.#fail(cause instanceof PlayerError ? cause : new PlayerError('unreachable', String(cause), { cause }));
    }
  }

  /** The address with the join point and the mode, for mounts that understand them. @param {string} [from] */
  #address(from) {
    const url = new URL(this.#goaway?.url ?? /** @type {string} */ (this.#src), /** @type {string} */ (this.#src));
    this.#goaway = null;
    if (!url.protocol.startsWith('ws')) return url.href;
    const { searchParams } = url;
    const join = from ?? this.#session.resumePoint;
    if (join) searchParams.set('from', join);
    if (!searchParams.has('mode')) searchParams.set('mode', this.#options.mode);
    return url.href;
  }

  /** Keeps the order of what arrives before the engine exists. @param {() => void} then */
  #whenReady(then) {
    if (this.#engine) then();
    else this.#early.push(then);
  }

  /** @param {Uint8Array} bytes @returns {void | Promise<void>} */
  #receive(bytes) {
    this.#bytesReceived += bytes.length;
    this.#lastArrival = now();
    this.#told.stalled = false;
    const at = now();
    this.#whenReady(() => this.#media(bytes, at));
    // Held back until the module is there, so that a fast server cannot fill memory.
    if (!this.#engine) return this.#starting?.then(() => {});
    if (this.#engine.full) {
      if (this.#framed && !this.#srcObject) this.#park();
      return this.#room();
    }
    return undefined;
  }

  /** @param {Uint8Array} bytes @param {number} at When it arrived. */
  #media(bytes, at) {
    if (!this.#framed) {
      this.#rejoined();
      this.#take(bytes, at);
      return;
    }
    const chunk = this.#attempt(() => this.#session.chunk(bytes));
    if (!chunk || this.#seek?.dropping) return;
    this.#headIngest = chunk.ingestTime;
    this.#headTime = chunk.mediaTime + chunk.duration;
    this.#rejoined();
    this.#timed(() => this.#engine?.pushChunk(at, bytes));
    this.#run();
  }

  #rejoined() {
    if (!this.#rejoining) return;
    this.#rejoining = false;
    this.#backoff?.reset();
    this.#emit('reconnected', { recovered: this.#recovered });
  }

  /** @param {Uint8Array} bytes @param {number} [at] */
  #take(bytes, at = now()) {
    this.#timed(() => this.#engine?.pushBytes(at, bytes));
    this.#run();
  }

  #endInput() {
    this.#engine?.endOfStream(now());
    this.#run();
  }

  /** Full: the socket cannot be held back, so it is left and joined again at the same chunk. */
  #park() {
    this.#disconnect();
    this.#network = 'parked';
  }

  /** @param {string} message */
  #control(message) {
    if (!this.#framed) return; // Text from a plain server is no media and no error of ours.
    const notice = this.#attempt(() => this.#session.control(message, Date.now()));
    const engine = this.#engine;
    if (!notice || !engine) return;
    switch (notice.type) {
      case 'welcome':
        if (this.#rejoining) {
          this.#recovered = notice.recovered;
          if (!notice.recovered) engine.gap();
        }
        if (this.#seek) this.#seek.dropping = false;
        break;
      case 'config':
        engine.config(notice.generation, notice.container, notice.headers);
        break;
      case 'metadata':
        engine.metadata(notice.at, JSON.stringify(notice.tags));
        break;
      case 'gap':
        if (this.#seek?.dropping) this.#seek.dropping = notice.reason !== 'seek';
        else engine.gap();
        break;
      case 'end':
        this.#setDuration(notice.mediaTime);
        engine.setDuration(notice.mediaTime);
        this.#inputEnded = true;
        this.#endInput();
        break;
      case 'offline':
        this.#emit('sourceoffline', { graceMs: notice.graceMs });
        break;
      case 'online':
        this.#emit('sourceonline');
        break;
      case 'goaway':
        this.#goaway = notice;
        break;
      case 'error':
        this.#serverSaid = notice.message;
        break;
      default:
    }
  }

  /** @param {import('./transport.js').Closed} closed */
  #closed({ error, retry }) {
    this.#connection = null;
    if (this.#inputEnded || !error) {
      this.#network = 'done';
      if (!this.#inputEnded) {
        this.#inputEnded = true;
        this.#endInput();
      }
      return;
    }
    if (this.#serverSaid) error.message += ` (${this.#serverSaid})`;
    if (!this.#rejoining) this.#lostAt = now();
    // An address that has never delivered is more likely wrong than down for the moment;
    // a mount that has just played is more likely waiting for its source than gone.
    const worthwhile = this.#bytesReceived
      ? retry || (error.reason === 'mount_not_found' && now() - this.#lostAt < MOUNT_GONE_MS)
      : retry && (this.#backoff?.attempts ?? 0) < FIRST_ATTEMPTS;
    const delay = worthwhile && this.#src !== null ? this.#backoff?.next(this.#goaway?.afterMs) : null;
    if (delay === null || delay === undefined) {
      // What has arrived is still played; the failure is told after it.
      if (!this.#playing) this.#fail(error);
      else {
        this.#network = 'done';
        this.#lateError = error;
        this.#endInput();
      }
      return;
    }
    this.#network = 'retrying';
    this.#rejoining = true;
    this.#recovered = false;
    if (!this.#framed && this.#bytesReceived) this.#engine?.gap();
    this.#emit('reconnecting', { attempt: this.#backoff?.attempts, delayMs: delay, cause: error });
    this.#retryTimer = setTimeout(() => this.#connect(), delay);
  }

  /** @template T @param {() => T} work @returns {T | null} */
  #attempt(work) {
    try {
      return work();
    } catch (e) {
      this.#fail(/** @type {PlayerError} */ (e));
      return null;
    }
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

  #run() {
    const engine = this.#engine;
    const output = this.#output;
    if (!engine || !output || this.#error) return;
    this.#timed(() => {
      const { frame } = output;
      const events = engine.poll(now(), frame);
      for (const event of events) if (event.type === 'cancel') output.cancel(event.frame);
      output.schedule(engine);
      for (const event of events) {
        this.#onEngine(event);
        // A listener may have closed the player or set another source.
        if (engine !== this.#engine) return;
      }
    });
    if (engine !== this.#engine || this.#error) return;
    if (!engine.full) {
      for (const resolve of this.#waitingForRoom.splice(0)) resolve();
      if (this.#queue.length) this.#drain();
      if (this.#network === 'parked' && !this.#paused && this.#depth() < UNPARK_BELOW) {
        this.#rejoining = true;
        this.#connect();
      }
    }
    this.#chores(output);
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
        this.#emit(type, { at: event.at, tags: event.json ? JSON.parse(event.json) : event.tags });
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
    this.#seek.done.resolve();
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
    if (this.#readyState === 0 && this.#bytesReceived > 0) {
      this.#fail(new PlayerError('decode', `${this.#bytesReceived} bytes arrived and none was playable`));
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

  /** @param {number} seconds */
  #setDuration(seconds) {
    if (seconds === this.#duration) return;
    this.#duration = seconds;
    this.#emit('durationchange');
  }

  /** What is due by the clock. @param {Output} output */
  #chores(output) {
    const t = now();
    if (this.#playing && t - this.#told.time >= TIMEUPDATE_MS) {
      this.#told.time = t;
      this.#emit('timeupdate');
    }
    if (this.#framed && this.#network === 'open' && t - this.#told.report >= REPORT_MS) {
      this.#told.report = t;
      this.#connection?.send(statsMessage(this.currentTime, this.#depth() * 1000, this.getStats().underrunEvents));
      this.#connection?.send(timeMessage(Date.now()));
    }
    const expecting = this.#network === 'open' && (this.#src !== null || this.#srcObject) && !this.#engine?.full;
    if (expecting && !this.#paused && !this.#told.stalled && t - this.#lastArrival > STALLED_MS) {
      this.#told.stalled = true;
      this.#emit('stalled');
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
