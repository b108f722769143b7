// @ts-check
/**
 * One programme's way in: connects, resumes, reconnects, and hands what comes
 * to the engine. Lives from a source being set until it is replaced.
 */
import { now } from './clock.js';
import { PlayerError, failure } from './errors.js';
import { Session, message as worded, number } from './session.js';
import { attach, open } from './transport.js';

/** Retries of a source from which nothing has come yet. */
const FIRST_ATTEMPTS = 3;
/** How long a mount that played may be missing: a relay was restarted and its source is not back yet. */
const MOUNT_GONE_MS = 60_000;
/** Buffer at which a parked connection is made again, seconds: low enough that it is not dropped at once. */
const UNPARK_BELOW = 8;
/** A seek asks for this much before its aim, seconds: a decoder that begins in the middle has to settle, unheard. */
const PRE_ROLL = 0.1;

/**
 * @typedef {import('./engine.js').Engine} Engine
 * @typedef {string | WebSocket | ReadableStream<Uint8Array>} Source
 */

export class Link {
  session = new Session();
  /** Whether the open connection speaks `seamcast.v1`. */
  framed = false;
  /** Whether it only listens: over HTTP. */
  #mute = false;
  /** @type {'idle' | 'open' | 'retrying' | 'parked'} */
  state = 'idle';
  received = 0;
  /** When media first and last came, ms; 0: never. */
  firstArrival = 0;
  lastArrival = 0;
  /** Seeks not answered yet; what comes before the last answer belongs elsewhere. */
  seeking = 0;
  /** Where the last of them goes. */
  #aim = '';
  #ended = false;
  /** The newest chunk's. @type {import('./engine.js').Header} */
  #newest = [0, 0, 0];

  /** @type {Engine | null | undefined} */
  #engine;
  /** What arrived before the engine. @type {(() => void)[]} */
  #early = [];
  #source;
  #query;
  #backoff;
  #host;
  /** @type {import('./transport.js').Connection | null | undefined} */
  #connection;
  /** Whether the server speaks `seamcast.v1`; null until a socket has opened. @type {boolean | null | undefined} */
  #dialect;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  /** @type {{after_ms: number, url: string} | null | undefined} */
  #goaway;
  /** Media has to flow before `reconnected` is told. */
  #rejoining = false;
  #recovered = false;
  #lostAt = 0;
  #serverSaid = '';
  #onOnline = () => this.state === 'retrying' && this.connect();

  /**
   * @param {Source} source
   * @param {{query: Record<string, any>, backoff: import('./reconnect.js').Backoff | null}} options `query`: what a join asks for where the address does not.
   * @param {import('./core.js').Core} host
   */
  constructor(source, { query, backoff }, host) {
    this.#source = source;
    this.#query = query;
    // Retrying needs an address: a socket or stream handed over is spent.
    this.#backoff = typeof source === 'string' ? backoff : null;
    this.#host = host;
    globalThis.addEventListener?.('online', this.#onOnline);
  }

  /** Gives what has arrived, and from now on arrives, to the engine. @param {Engine} engine */
  start(engine) {
    this.#engine = engine;
    for (const early of this.#early.splice(0)) early();
  }

  /** @param {string} [from] Where to join; by default where the last connection ended. */
  connect(from) {
    this.#disconnect();
    this.state = 'idle';
    try {
      this.#connection = typeof this.#source === 'string' ? open(this.#address(this.#source, from), this, this.#dialect) : attach(this.#source, this);
    } catch (cause) {
      this.#host.fail(failure(cause, 'unreachable', 'cannot connect'));
    }
  }

  close() {
    this.#disconnect();
    this.state = 'idle';
    this.#early = [];
    globalThis.removeEventListener?.('online', this.#onOnline);
  }

  #disconnect() {
    clearTimeout(this.#timer);
    this.#connection?.close();
    this.#connection = null;
  }

  /** The address with the join point and the mode, for mounts that understand them. @param {string} source @param {string} [from] */
  #address(source, from) {
    const url = new URL(this.#goaway?.url || source, source);
    this.#goaway = null;
    if (!url.protocol.startsWith('ws')) return url.href;
    const join = from ?? this.session.resumePoint;
    if (join) url.searchParams.set('from', join);
    for (const [name, value] of Object.entries(this.#query)) if (!url.searchParams.has(name)) url.searchParams.set(name, value);
    return url.href;
  }

  /** Keeps the order of what arrives before the engine exists. @param {(engine: Engine) => void} then */
  #whenReady(then) {
    if (this.#engine) then(this.#engine);
    else this.#early.push(() => then(/** @type {Engine} */ (this.#engine)));
  }

  /* ── What comes ──────────────────────────────────────────────────── */

  /** @param {boolean} framed */
  opened(framed, mute = false) {
    this.state = 'open';
    this.framed = this.#dialect = framed;
    this.#mute = mute;
    this.lastArrival = now();
    if (framed) this.#askTime();
  }

  /** @param {Uint8Array} bytes @returns {void | Promise<void>} */
  bytes(bytes) {
    const at = now();
    this.received += bytes.length;
    this.firstArrival ||= at;
    this.lastArrival = at;
    this.#whenReady((engine) => this.#media(bytes, at, engine));
    // Held back until the module is there, so that a fast server cannot fill memory.
    if (!this.#engine) return new Promise((resolve) => void this.#early.push(resolve));
    if (!this.#engine.full()) return undefined;
    // A socket cannot be held back.
    if (!this.#mute) this.park();
    return this.#host.room();
  }

  /** @param {Uint8Array} bytes @param {number} at When it arrived. @param {Engine} engine */
  #media(bytes, at, engine) {
    if (!this.framed) {
      this.#rejoined();
      this.#host.work(() => engine.pushBytes(at, bytes));
      return;
    }
    this.#host.work(() => {
      const header = engine.header(bytes);
      if (typeof header === 'string') this.#host.fail(new PlayerError('bad_message', header));
      else if (header && this.session.chunk(header[0], header[1]) && !this.seeking) {
        this.#newest = header;
        engine.pushChunk(at, bytes);
        this.#rejoined();
      }
    });
  }

  #rejoined() {
    if (!this.#rejoining) return;
    this.#rejoining = false;
    this.#backoff?.reset();
    this.#host.emit('reconnected', { recovered: this.#recovered });
  }

  /** @param {string} message */
  text(message) {
    this.#whenReady((engine) => this.#control(message, engine));
  }

  /** @param {import('./transport.js').Closed} closed */
  closed(closed) {
    this.#whenReady((engine) => this.#closed(closed, engine));
  }

  /** @param {string} message @param {Engine} engine */
  #control(message, engine) {
    if (!this.framed) return; // Text from a plain server is no media and no error of ours.
    let said;
    try {
      said = this.session.control(message, Date.now());
    } catch (e) {
      return this.#host.fail(/** @type {PlayerError} */ (e)); // It breaks the protocol.
    }
    switch (said?.type) {
      case 'welcome':
        if (this.#rejoining) {
          this.#recovered = said.recovered;
          if (!said.recovered) engine.gap();
        }
        this.seeking = 0;
        break;
      case 'config':
        // Until the newest seek is answered, headers are of another place: they, too, are numbered for what follows them.
        if (!this.seeking) this.#host.work(() => engine.config(said.generation, said.container === 'mpeg', said.headers));
        break;
      case 'metadata':
        if (!this.seeking) engine.metadata(number(said.at), new TextEncoder().encode(JSON.stringify(said.tags ?? {})));
        break;
      case 'gap':
        if (!this.seeking) engine.gap();
        else if (said.reason === 'seek') this.seeking -= 1;
        break;
      case 'end': {
        // The seek came too late to be heard.
        if (this.seeking) return this.connect(this.#aim);
        const seconds = number(said.media_time);
        this.#host.duration(seconds);
        engine.setDuration(seconds);
        this.#end(engine);
        break;
      }
      case 'offline':
        this.#host.emit('sourceoffline', { graceMs: number(said.grace_ms) });
        break;
      case 'online':
        this.#host.emit('sourceonline');
        break;
      case 'goaway':
        this.#goaway = said;
        break;
      case 'error':
        this.#serverSaid = said.message;
        break;
      default:
    }
  }

  /** @param {Engine} engine */
  #end(engine) {
    if (this.#ended) return;
    this.#ended = true;
    this.session.live = false;
    this.#host.work(() => engine.endOfStream(now()));
  }

  /** @param {import('./transport.js').Closed} closed @param {Engine} engine */
  #closed({ error, worth }, engine) {
    this.#connection = null;
    if (this.#ended || !error) {
      this.state = 'idle';
      this.#end(engine);
      return;
    }
    if (this.#serverSaid) error = new PlayerError(error.reason, `${error.detail} (${this.#serverSaid})`, error);
    if (!this.#rejoining) this.#lostAt = now();
    // An address that has never delivered is more likely wrong than down for the moment;
    // a mount that has just played is more likely waiting for its source than gone.
    const worthwhile = this.received
      ? worth || (error.reason === 'mount_not_found' && now() - this.#lostAt < MOUNT_GONE_MS)
      : worth && (this.#backoff?.attempts ?? 0) < FIRST_ATTEMPTS;
    const delay = worthwhile ? this.#backoff?.next(this.#goaway?.after_ms) : null;
    if (delay === null || delay === undefined) {
      this.state = 'idle';
      this.#host.lost(error);
      return;
    }
    this.state = 'retrying';
    this.#rejoining = true;
    this.#recovered = false;
    if (!this.framed && this.received) engine.gap();
    this.#host.emit('reconnecting', { attempt: this.#backoff?.attempts, delayMs: delay, cause: error });
    this.#timer = setTimeout(() => this.connect(), delay);
  }

  /* ── What is asked ───────────────────────────────────────────────── */

  /** Programme positions that can be joined, seconds: of one in progress up to where the relay's clock says that it is. @returns {[number, number]} */
  get seekable() {
    const { seekable: [first, last], live } = this.session;
    return [first, live ? Math.max(last, this.age(0) ?? 0) : last];
  }

  /** @param {number | 'live'} to */
  seek(to) {
    const from = to === 'live' ? to : Math.max(0, to - PRE_ROLL).toFixed(3);
    // A relay that has said everything hears nothing more.
    if (this.state === 'open' && !this.#mute && !this.#ended) {
      this.seeking += 1;
      this.#aim = from;
      this.#send('seek', { from });
    } else this.connect(from);
    this.#ended = false;
  }

  /** Leaves a connection of which nothing is wanted for now: it is joined again at the same chunk. */
  park() {
    if (!this.framed || typeof this.#source !== 'string' || this.state !== 'open') return;
    this.#disconnect();
    this.state = 'parked';
  }

  /** A parked connection is made again once little is left. @param {number} depth Seconds held. */
  unpark(depth) {
    if (this.state !== 'parked' || depth >= UNPARK_BELOW) return;
    this.#rejoining = true;
    this.connect();
  }

  /** @param {number} mediaTime @param {number} depth Seconds. @param {number} underruns */
  report(mediaTime, depth, underruns) {
    if (!this.framed || this.state !== 'open') return;
    this.#send('stats', { media_time: mediaTime, buffered_ms: depth * 1000, underruns });
    this.#askTime();
  }

  #askTime() {
    this.#send('time', { t0: Date.now() });
  }

  /** @param {string} type @param {Record<string, unknown>} fields */
  #send(type, fields) {
    this.#connection?.send(worded(type, fields));
  }

  /** Seconds since the relay received what lies at `mediaTime`; null where it does not say. @param {number} mediaTime */
  age(mediaTime) {
    const { clockOffset } = this.session;
    const [, end, ingest] = this.#newest;
    if (!this.framed || clockOffset === null || !ingest) return null;
    // It came in as long before the newest chunk as it lies before it in the programme.
    return (Date.now() + clockOffset - ingest) / 1000 + end - mediaTime;
  }
}
