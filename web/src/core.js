// @ts-check
/**
 * Everything between the network and the output for one source: link, engine, clockwork. Runs on the
 * main thread or in a worker; methods are called with, and events told in, what can be cloned.
 */
import { Appender } from './appender.js';
import { now } from './clock.js';
import { PlayerError, failure } from './errors.js';
import { Link } from './link.js';
import { Backoff } from './reconnect.js';
import { load, make } from './wasm.js';

const PUMP_MS = 40;
/** Appends closer together than this are worked on together. */
export const SOON_MS = 5;
const TELL_MS = 100;
const REPORT_MS = 5000;
/** No media for this long while more is expected: `stalled`, as in HTML. */
const STALLED_MS = 3000;
/** What a mount gives at a join by default, seconds. */
const BACKLOG = 2;
/** An endless stream of which nothing is playable is given up after this long. */
const UNPLAYABLE_MS = 15_000;

/**
 * @typedef {import('./engine.js').Engine} Engine
 *
 * @typedef {object} Sink Where blocks go; frames are the engine's.
 * @property {number} rate
 * @property {number} channels
 * @property {number} lead Least time from reading the clock to the start of a block, seconds; less where the latency is bound to less than four times as much.
 * @property {number} horizon How far ahead blocks are handed out, seconds.
 * @property {number} shift What the context's clock is ahead of `frame`, in frames.
 * @property {number} starved Frames for which blocks came late amid a programme.
 * @property {number} frame Where the audio thread should be.
 * @property {number} reached Where it has been seen.
 * @property {boolean} runs
 * @property {(engine: Engine) => void} schedule
 * @property {(frame?: number) => void} cancel Silences what starts at or after a frame, the present one by default.
 * @property {(cut?: boolean) => void} finish
 *
 * @typedef {object} Options
 * @property {import('./link.js').Source | null} source
 * @property {string} mode
 * @property {[number, number]} latency
 * @property {number} stretch
 * @property {import('./index.js').ReconnectOptions | false} [reconnect]
 * @property {string | URL} [wasmUrl]
 *
 * @typedef {object} State
 * @property {number} frame The context's, at which it is so.
 * @property {number} time
 * @property {number} start From which frame on time passes; Infinity: it stands.
 * @property {number} end
 * @property {boolean} framed
 * @property {[number, number]} seekable
 * @property {number | null} age
 * @property {number} received
 * @property {import('./engine.js').EngineStats} stats
 */

/** What there is to know when there is nothing. @type {State} */
export const NOTHING = {
  frame: 0, time: 0, start: Infinity, end: 0, framed: false, seekable: [0, 0], age: null, received: 0,
  stats: {
    underrunEvents: 0, underrunDuration: 0, totalDuration: 0, averageLatency: 0, jitterBufferDelay: 0,
    jitterBufferTargetDelay: 0, arrivalRate: 0, arrivalSpreadP95: 0, startupDelay: 0, predictedSafeStart: 0, prebuffer: 0,
    resampleRatio: 1, driftPpm: 0, concealedFrames: 0, droppedFrames: 0, stretchedFrames: 0, decodeTimeMs: 0,
  },
};

export class Core {
  /** @type {Engine | null | undefined} */
  #engine;
  /** @type {Link | null | undefined} */
  #link;
  /** @type {Sink | null | undefined} */
  #sink;
  #tell;
  /** @type {(type: string, detail?: Record<string, unknown>) => void} */
  emit;
  /** Bound of the latency, seconds. */
  #most;
  #appender = new Appender();
  /** Whether all was heard: what is appended next begins at 0. */
  #over = false;
  #wants = false;
  #playing = false;
  #stopped = false;
  /** Whether the engine knows a format. */
  #format = false;
  /** What the engine last found wrong with the input. */
  #complaint = '';
  /** Told once what is buffered has been played. @type {PlayerError | null | undefined} */
  #lateError;
  /** Context frame at which the present run began. */
  #start = 0;
  /** The sink's as last seen. */
  #starved = 0;
  #finished = 0;
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #pump;
  /** When #run() last ran, ms, and the timer for its next run. */
  #ranAt = -Infinity;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #soonTimer;
  /** What was told: when, ms, that nothing comes, and how much was taken. */
  #stateAt = 0;
  #reportAt = 0;
  #stalled = false;
  #taken = 0;

  /** @param {Options} options @param {(type: string, detail?: any) => void} tell */
  constructor(options, tell) {
    this.#tell = this.emit = tell;
    const { source, mode, latency, reconnect } = options;
    this.#most = latency[1];
    // At once: a socket handed over delivers from now on, and a new one takes its time as the module does.
    if (source) {
      // Of the backlog that a mount gives otherwise, more than a live player may hold would only be skipped; chunks and what
      // lies between a block and its start come on top.
      const query = { mode, ...(mode === 'live' && latency[1] < BACKLOG && { burst: Math.max(latency[0], latency[1] / 2) }) };
      this.#link = new Link(source, { query, backoff: reconnect === false ? null : new Backoff(reconnect) }, this);
      this.#link.connect();
    }
    void this.#load(options);
  }

  /** @param {Options} options */
  async #load({ wasmUrl, mode, latency, stretch }) {
    const begun = now();
    try {
      await load(wasmUrl);
    } catch (cause) {
      this.fail(/** @type {PlayerError} */ (cause));
    }
    if (this.#stopped) return;
    const engine = /** @type {Engine} */ (this.#engine = make('engine', performance, mode === 'complete', ...latency));
    engine.setStretch(stretch);
    // A join of its own: what was asked for when tells a burst, whenever it is to be heard.
    if (this.#link) engine.seek(begun, 0);
    if (this.#sink) this.attach(this.#sink);
    this.#pump = setInterval(() => this.run(), PUMP_MS);
    if (this.#wants) engine.play(now());
    this.#link?.start(engine);
    this.run();
  }

  /* ── Asked by the link ───────────────────────────────────────────── */

  /** Runs calls of the engine and then lets it act. @param {() => void} work */
  work(work) {
    this.#safely(work);
    this.run();
  }

  /** Nothing more can be done. @param {PlayerError} error */
  fail(error) {
    if (this.#stopped) return;
    this.stop();
    this.#tell('fail', { error });
  }

  /** No more will come; what has arrived is still played, and the failure told after it. @param {PlayerError} error */
  lost(error) {
    if (!this.#playing) this.fail(error);
    else {
      this.#lateError = error;
      this.#engine?.endOfStream(now());
    }
  }

  /** @param {number} seconds */
  duration(seconds) {
    this.#tell('duration', { seconds });
  }

  /** Resolved when the engine, which is full, takes more. */
  room() {
    return this.#appender.room();
  }

  /* ── Asked from outside ──────────────────────────────────────────── */

  /** @param {string} method @param {any[]} args */
  call(method, ...args) {
    /** @type {any} */ (this)[method](...args);
  }

  /** @param {Sink} sink @param {unknown} [_] */
  attach(sink, _) {
    this.#sink = sink;
    this.#starved = sink.starved;
    this.#engine?.setOutput(sink.rate, sink.channels, Math.min(sink.lead, this.#most / 4), sink.horizon);
  }

  /** Whether the context runs. @param {boolean} is */
  running(is) {
    if (this.#sink) this.#sink.runs = is;
    this.run();
  }

  play() {
    this.#wants = true;
    this.#engine?.play(now());
    this.run();
  }

  /** @param {number} frame The context's. */
  pause(frame) {
    this.#wants = this.#playing = false;
    if (this.#sink) this.#engine?.pause(now(), frame - this.#sink.shift);
    this.run(true);
  }

  /** @param {number | 'live'} to */
  seek(to) {
    const link = this.#link;
    if (!link) return;
    this.#anew(to === 'live' ? link.seekable[1] : to, to !== 'live');
    link.seek(to);
    this.run(true);
  }

  /** @param {number} frame The context's. */
  flush(frame) {
    this.#appender.drop();
    this.#playing = false;
    if (this.#sink) this.#engine?.flush(now(), frame - this.#sink.shift);
    this.run(true);
    this.#sink?.finish(true);
  }

  /** @param {Uint8Array | Uint8Array[]} pieces */
  append(pieces) {
    if (this.#over) this.#anew(0);
    for (const bytes of [pieces].flat()) this.#appender.push(bytes);
    this.#soon();
  }

  end() {
    this.#appender.end();
    this.run();
  }

  /** Ends network and clockwork. */
  stop() {
    this.#stopped = true;
    this.#link?.close();
    clearInterval(this.#pump);
    clearTimeout(this.#soonTimer);
  }

  close() {
    this.stop();
    this.#sink?.cancel();
    this.#sink?.finish(true);
    this.#engine?.free();
    this.#engine = null;
  }

  /** Everything there is to know, at a frame of the context. @returns {State} */
  state(frame = this.#sink ? this.#sink.frame + this.#sink.shift : 0) {
    const at = frame - (this.#sink?.shift ?? 0);
    const engine = this.#engine;
    const link = this.#link;
    const time = engine?.currentTime(at) ?? 0;
    return {
      ...NOTHING, frame, time, received: this.#bytes, start: this.#playing ? this.#start : Infinity,
      ...(engine && { end: engine.buffered(at), stats: engine.stats(at) }),
      ...(link && { framed: link.framed, seekable: link.seekable, age: link.age(time) }),
    };
  }

  /* ── Inside ──────────────────────────────────────────────────────── */

  /** What comes next is another join. @param {number} seconds Where it lies, if it does not say. @param {boolean} [exact] Heard from there. */
  #anew(seconds, exact) {
    this.#playing = this.#over = false;
    this.#engine?.seek(now(), seconds, exact);
    this.#sink?.cancel();
    this.#sink?.finish(true);
    if (this.#wants) this.#engine?.play(now());
  }

  /** A trap leaves the module unusable: it is a failure of ours and said as one. @param {() => void} work */
  #safely(work) {
    try {
      work();
    } catch (cause) {
      this.fail(failure(cause, 'decode', 'the engine failed'));
    }
  }

  /** As run(), but what comes in many small pieces is taken at once and worked on together. */
  #soon() {
    const engine = this.#engine;
    if (!engine || now() - this.#ranAt > SOON_MS) return this.run();
    this.#safely(() => this.#drain(engine));
    this.#soonTimer ??= setTimeout(() => this.run(), SOON_MS);
  }

  /** @param {Engine} engine */
  #drain(engine) {
    this.#appender.drain(engine, now());
    const { taken } = this.#appender;
    if (taken !== this.#taken && !engine.full()) {
      this.#taken = taken;
      this.#tell('taken', { taken });
    }
  }

  /** @param {boolean} [tell] Whether what changed is to be told at once. */
  run(tell = false) {
    clearTimeout(this.#soonTimer);
    this.#soonTimer = undefined;
    this.#ranAt = now();
    const engine = this.#engine;
    const sink = this.#sink;
    if (!engine || !sink || this.#stopped) return;
    /** @type {any[]} */
    let events = [];
    this.#safely(() => {
      this.#drain(engine);
      const { frame, reached } = sink;
      const late = sink.starved - this.#starved;
      if (late > 0) {
        this.#starved += late;
        engine.noteStarved(late);
        events.push({ type: 'underrun', mediaTime: engine.currentTime(frame), silenceMs: late * 1000 / sink.rate });
      }
      events.push(...engine.poll(now(), frame, reached));
      for (const event of events) if (event.type === 'cancel') sink.cancel(event.frame);
      sink.schedule(engine);
      const finished = engine.finished();
      if (finished && !this.#finished) sink.finish();
      this.#finished = finished;
    });
    const before = this.#playing;
    for (const event of events) {
      this.#on(event, sink);
      // A listener may have closed the player or set another source.
      if (this.#stopped) return;
    }
    this.#chores(engine);
    const t = now();
    if (!tell && before === this.#playing && t - this.#stateAt < TELL_MS) return;
    this.#stateAt = t;
    this.#tell('state', this.state());
  }

  /** @param {any} event @param {Sink} sink */
  #on({ type, ...detail }, sink) {
    switch (type) {
      case 'cancel': return;
      case 'playing':
        this.#playing = true;
        this.#start = detail.frame + sink.shift;
        this.#tell('state', this.state());
        break;
      case 'waiting':
        this.#playing = false;
        break;
      case 'loadedmetadata':
        this.#format = true;
        break;
      case 'decodeerror':
        this.#complaint = detail.message;
        break;
      case 'overflow':
        this.#tell('decodeerror', { message: 'input was dropped: it came faster than it is played', offset: 0, framesLost: 0 });
        return;
      case 'ended': {
        this.#playing = this.#wants = false;
        this.#over = true;
        const error = this.#lateError ?? (!this.#format && this.#bytes ? this.#unplayable() : null);
        this.#tell('state', this.state());
        if (error) return this.fail(error);
        break;
      }
      default:
    }
    this.#tell(type, detail);
  }

  get #bytes() {
    return this.#link?.received ?? this.#appender.received;
  }

  #unplayable() {
    return new PlayerError('unsupported_media', `${this.#bytes} bytes arrived and none was playable${this.#complaint && `, ${this.#complaint}`}`);
  }

  /** What is due by the clock. @param {Engine} engine */
  #chores(engine) {
    const link = this.#link;
    if (!link) return;
    const t = now();
    const full = engine.full();
    const waits = !full && this.#wants;
    if (full && !this.#wants) link.park();
    const due = t - this.#reportAt >= REPORT_MS;
    if (due || (waits && link.state === 'parked')) {
      const { time, end, stats } = this.state();
      if (waits) link.unpark(end - time);
      if (due) {
        this.#reportAt = t;
        link.report(time, end - time, stats.underrunEvents);
      }
    }
    const late = link.state === 'open' && waits && t - link.lastArrival > STALLED_MS;
    if (late && !this.#stalled) this.emit('stalled');
    this.#stalled = late;
    if (!this.#format && this.#complaint && t - link.firstArrival > UNPLAYABLE_MS) this.fail(this.#unplayable());
  }
}
