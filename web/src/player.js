// @ts-check
/** The `Player`: speaks HTMLMediaElement; a `Core`, in a worker or beside it, does the work. */
import { now } from './clock.js';
import { Core, NOTHING } from './core.js';
import { Credit } from './credit.js';
import { defer } from './defer.js';
import { domError, failure, toBytes } from './errors.js';
import { absolute, address, checked, finite, isSocket } from './options.js';
import { ranges } from './ranges.js';
import { Remote } from './remote.js';
import { Stage } from './stage.js';
import { canPlayType, isSupported } from './support.js';
import { tagsOf } from './tags.js';

const TIMEUPDATE_MS = 250;

export class Player extends EventTarget {
  #options;
  #stage;
  /** @type {Core | Remote | null | undefined} */
  #core;
  /** @type {Promise<Core | Remote> | null | undefined} */
  #starting;
  /** Changes with every load, so that late answers of an earlier one are dropped. */
  #load = 0;

  /** @type {import('./link.js').Source | null} */
  #source = null;
  /** `endOfStream()` was called, and nothing was appended after it. */
  #inputEnded = false;

  #paused = true;
  #ended = false;
  #playing = false;
  #readyState = 0;
  #duration = NaN;
  /** @type {import('./errors.js').PlayerError | null} */
  #error = null;
  /** @type {ReturnType<typeof defer> | null | undefined} */
  #play;
  /** @type {ReturnType<typeof defer> | null | undefined} */
  #seek;

  #volume = 1;
  #muted = false;
  #toldTime = 0;
  /** Position shown in a pause, and from a seek to its end. @type {number | null | undefined} */
  #held;
  #credit = new Credit();
  /** Seconds played up to the last `flush()`. */
  #flushed = 0;

  /** @param {import('./index.js').PlayerOptions} [options] */
  constructor(options = {}) {
    super();
    this.#options = checked(options);
    this.#stage = new Stage(options, () => this.#onContext());
  }

  static canPlayType = canPlayType;
  static isSupported = isSupported;

  /* ── Source ──────────────────────────────────────────────────────── */

  get src() {
    return typeof this.#source === 'string' ? this.#source : null;
  }

  set src(url) {
    this.#setSource(url === null ? null : address(url));
    if (this.#source && this.#options.preload === 'auto') this.#prepare().catch(() => {});
  }

  get srcObject() {
    return typeof this.#source === 'string' ? null : this.#source;
  }

  set srcObject(source) {
    const socket = source !== null && isSocket(source);
    this.#setSource(source);
    // A socket delivers from now on whether anybody listens or not.
    if (socket) this.#prepare().catch(() => {});
  }

  /** @param {BufferSource} chunk @returns {Promise<void>} */
  async append(chunk) {
    const bytes = toBytes(chunk, 'append');
    this.#pushes('append');
    if (this.#error) this.#setSource(null);
    const at = this.#credit.use(bytes.length);
    this.#inputEnded = this.#ended = false;
    // The engine takes it later, the caller may reuse its buffer now.
    const copy = bytes.slice();
    const core = await this.#prepare();
    if (core !== this.#core) return;
    core.call('append', copy);
    await this.#credit.until(at);
  }

  endOfStream() {
    this.#pushes('endOfStream');
    this.#inputEnded = true;
    this.#starting?.then((core) => core.call('end'), () => {});
  }

  /* ── Playback ────────────────────────────────────────────────────── */

  async unlock() {
    if (!(await this.#stage.open().resume(true))) throw this.#blocked();
  }

  play() {
    // A failed or finished load starts over, as an element's does.
    if (this.#error || (this.#ended && this.#source)) this.#setSource(this.#source);
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

  #blocked() {
    this.#emit('unlockrequired');
    return domError('the browser blocks audio before a user gesture: call unlock() or play() in a click or key handler', 'NotAllowedError');
  }

  async #begin() {
    const generation = this.#load;
    try {
      const [core, allowed] = await Promise.all([this.#prepare(), this.#output?.resume()]);
      if (generation !== this.#load || this.#paused) return;
      if (!allowed) {
        this.#paused = true;
        this.#settlePlay(this.#blocked());
        this.#emit('pause');
        return;
      }
      // Where no worklet came after all, the clock has not been watched.
      if (core instanceof Core) await this.#output?.settled();
      if (this.#inputEnded) core.call('end');
      core.call('play');
    } catch (cause) {
      if (generation === this.#load) this.#fail(failure(cause, 'decode', 'the player failed'));
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
    const seconds = to === 'live' ? Infinity : finite(to);
    const { framed, seekable: [, last] } = this.#state();
    if (this.#error) throw this.#error;
    if (!framed) throw domError("this source cannot seek: use a Seamcast mount's ws or wss address", 'NotSupportedError');
    this.#seek?.reject(domError('another seek replaced this one', 'AbortError'));
    const done = this.#seek = defer();
    this.#ended = this.#playing = false;
    // What a mount has recorded begins before what it holds.
    this.#held = Math.min(Math.max(seconds, 0), last);
    this.#core?.call('seek', to === 'live' ? to : this.#held);
    this.#emit('seeking');
    if (!this.#paused) {
      this.#emit('waiting');
      this.#core?.call('play');
    }
    return done.promise;
  }

  flush() {
    const frame = this.#output?.cut ?? 0;
    const total = this.#state(frame).stats.totalDuration;
    const playedSeconds = total - this.#flushed;
    this.#flushed = total;
    this.#playing = this.#inputEnded = false;
    this.#core?.call('flush', frame);
    this.#credit.release();
    return { playedSeconds };
  }

  async close() {
    this.#setSource(null);
    this.#stage.dismiss();
    await this.#stage.close();
  }

  /* ── State ───────────────────────────────────────────────────────── */

  get currentTime() {
    return this.#held ?? this.#state().time;
  }

  set currentTime(seconds) {
    // Where nothing can be sought nothing is, as in HTML.
    this.seek(finite(seconds)).catch(() => {});
  }

  get duration() {
    return this.#duration;
  }

  get buffered() {
    const { time, end } = this.#state();
    return ranges([[time, end]]);
  }

  get seekable() {
    const { framed, seekable } = this.#state();
    return ranges(framed ? [seekable] : []);
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
    const volume = finite(value, 'volume takes 0 to 1');
    if (volume < 0 || volume > 1) throw domError(`volume takes 0 to 1, got ${volume}`, 'IndexSizeError');
    if (volume === this.#volume) return;
    this.#volume = volume;
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
    if (Number(value) !== 1) throw domError(`playbackRate takes 1, got ${value}`, 'NotSupportedError');
  }

  get sinkId() {
    return /** @type {any} */ (this.#output?.context)?.sinkId ?? '';
  }

  /** @param {string} id */
  async setSinkId(id) {
    const context = /** @type {any} */ (this.#stage.open().context);
    if (!context.setSinkId) throw domError('this browser cannot choose an output device', 'NotSupportedError');
    await context.setSinkId(id);
  }

  get context() {
    return this.#stage.open().context;
  }

  get node() {
    return this.#stage.open().node;
  }

  get latency() {
    const { time, end, age } = this.#state(this.#output?.frame);
    return (this.#output?.delay ?? 0) + Math.max(0, age ?? end - time);
  }

  get targetLatency() {
    return this.getStats().prebuffer;
  }

  /** @returns {import('./index.js').PlayerStats} */
  getStats() {
    const { time, end, received, stats } = this.#state();
    const remote = this.#core instanceof Remote;
    return {
      ...stats,
      bufferDepth: end - time, bytesReceived: received, outputLatency: this.#output?.delay ?? 0,
      output: remote ? 'worklet' : 'buffers', thread: remote ? 'worker' : 'main',
    };
  }

  /* ── Inside ──────────────────────────────────────────────────────── */

  get #output() {
    return this.#stage.output;
  }

  /** Fields are on the event and in `detail`. @param {string} type @param {Record<string, unknown>} [detail] */
  #emit(type, detail) {
    this.dispatchEvent(Object.assign(new CustomEvent(type, { detail }), detail));
  }

  /** @returns {import('./core.js').State} */
  #state(frame = this.#output?.heard ?? 0) {
    return this.#core?.state(frame) ?? NOTHING;
  }

  #onContext() {
    const context = this.#output?.context;
    const runs = context?.state === 'running';
    this.#core?.call('running', runs);
    if (this.#paused || runs) return;
    // A call or an alarm on iOS, elsewhere the device going away.
    this.#emit('interrupted');
    void context?.resume().catch(() => {});
  }

  /** @param {string} call One that gives what otherwise a source does. */
  #pushes(call) {
    if (this.#source) throw domError(`${call}() while a source is set: set src and srcObject to null first`, 'InvalidStateError');
  }

  #applyGain() {
    this.#stage.setGain(this.#muted ? 0 : this.#volume);
  }

  /** Worker or not, and connection; once per source. */
  #prepare() {
    return (this.#starting ??= this.#start(this.#load));
  }

  /** @param {number} load @returns {Promise<Core | Remote>} */
  async #start(load) {
    const { wasmUrl } = this.#options;
    const options = { ...this.#options, source: this.#source, wasmUrl: wasmUrl && absolute(wasmUrl) };
    /** @param {string} type @param {any} [detail] */
    const tell = (type, detail) => {
      if (load === this.#load) this.#on(type, detail);
    };
    const worker = this.#stage.worker(options);
    // It connects while the worklet comes, and making a context may take long.
    const remote = this.#core = worker && new Remote(options, tell, worker, load);
    const ready = await this.#stage.ready(worker);
    if (load !== this.#load) throw domError('the source was changed or closed', 'AbortError');
    const core = this.#core = ready && remote || new Core(options, tell);
    this.#stage.attach(core);
    return core;
  }

  /** Ends what was and begins anew with `source`; the output stays. @param {import('./link.js').Source | null} source */
  #setSource(source) {
    this.#load += 1;
    const had = this.#starting;
    this.#core?.call('close');
    this.#core = this.#starting = null;
    this.#credit.release();
    this.#credit = new Credit();
    this.#source = source;
    this.#inputEnded = this.#ended = false;
    this.#error = this.#held = null;
    this.#readyState = this.#flushed = 0;
    this.#duration = NaN;
    this.#abandon(domError('the source was changed or closed', 'AbortError'));
    if (had) this.#emit('emptied');
  }

  /** @param {unknown} [failure] */
  #settlePlay(failure) {
    if (failure) this.#play?.reject(failure);
    else this.#play?.resolve();
    this.#play = null;
  }

  /** Nothing more comes of what was asked for. @param {unknown} failure */
  #abandon(failure) {
    this.#playing = false;
    this.#paused = true;
    this.#seek?.reject(failure);
    this.#seek = null;
    this.#settlePlay(failure);
  }

  /** @param {import('./errors.js').PlayerError} error */
  #fail(error) {
    if (this.#error) return;
    this.#core?.call('stop');
    this.#error = error;
    this.#abandon(error);
    this.#credit.release(error);
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
        this.#credit.taken(detail.taken);
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
        this.#emit(type, { at: detail.at, tags: tagsOf(detail.tags ?? Object.entries(JSON.parse(detail.json))) });
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
    // Whoever sought the end is there.
    this.#seeked();
    // What is on its way to the ear, too.
    this.#held = this.#state(Infinity).time;
    if (!Number.isFinite(this.#duration)) this.#setDuration(this.#held);
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

  #watch() {
    const output = this.#output;
    const t = now();
    if (this.#playing && t - this.#toldTime >= TIMEUPDATE_MS) {
      this.#toldTime = t;
      this.#emit('timeupdate');
    }
    if (!output?.frozen(this.#playing)) return;
    // The device behind the context is gone for good (sleep, unplugged): a new context goes on where the old one stood.
    const core = this.#core;
    this.#emit('interrupted');
    if (!core || core !== this.#core || output !== this.#output) return;
    void this.#stage.close().catch(() => {});
    this.#stage.attach(core);
  }
}
