// @ts-check
/** A source over `seamcast.source.v1`: sends, paces, connects again. */

/** Seconds a paced stream is sent ahead of the clock. */
const AHEAD = 3;
/** Most bytes sent and not acknowledged. */
const UNACKNOWLEDGED = 65_536;
/** Attempts in a row before a lost connection is given up. */
const ATTEMPTS = 8;

/** @param {number} ms */
const sleep = (ms) => new Promise((done) => { setTimeout(done, ms); });

/**
 * Events: `onair` (the relay has taken audio), `progress {seconds, bytes}`,
 * `retrying {attempt, why}`, `done`, `failed {why}`.
 */
export class Publisher extends EventTarget {
  /** @type {WebSocket | null} */
  #socket = null;
  #sent = 0;
  #acked = { bytes: 0, media_time: 0 };
  /** Programme position of this connection's first acknowledgement. @type {number | null} */
  #base = null;
  #attempts = 0;
  #over = false;
  #ending = false;
  /** Whether a lost connection may be opened again: live sound goes on, a file has to be whole. */
  #again;
  /** What is said on every connection before audio. @type {Record<string, string>} */
  #tags;
  #wake = () => {};

  /**
   * @param {string} url Of the mount, ws or wss, with credentials and properties in its query.
   * @param {{live: boolean, tags?: Record<string, string>}} options
   */
  constructor(url, { live, tags = {} }) {
    super();
    this.url = url;
    this.#again = live;
    this.#tags = tags;
    this.#open();
  }

  /** Media bytes handed over that the network has not taken. */
  get waiting() {
    return this.#socket?.bufferedAmount ?? 0;
  }

  #open() {
    const socket = new WebSocket(this.url, 'seamcast.source.v1');
    socket.binaryType = 'arraybuffer';
    this.#socket = socket;
    this.#sent = 0;
    this.#acked = { bytes: 0, media_time: 0 };
    this.#base = null;
    let why = '';
    socket.onopen = () => {
      if (Object.keys(this.#tags).length > 0) this.title(this.#tags);
      this.#wake();
    };
    socket.onmessage = ({ data }) => {
      const message = JSON.parse(data);
      if (message.type === 'error') why = message.message;
      if (message.type !== 'ack') return;
      this.#acked = message;
      if (this.#base === null) {
        this.#base = message.media_time;
        this.#attempts = 0;
        this.#tell('onair');
      }
      this.#tell('progress', { seconds: message.media_time - (this.#base ?? 0), bytes: message.bytes });
      this.#wake();
    };
    socket.onclose = ({ code, reason }) => {
      if (this.#over || socket !== this.#socket) return;
      if (this.#ending && code === 1000) return this.#finish('done');
      const text = why || reason || (code === 1006 ? 'the relay cannot be reached, or refused the mount' : `the relay closed the connection (${code})`);
      // 4005: somebody else publishes now; taking the mount back would go on for ever.
      const hopeless = code >= 4500 || code === 4005 || !this.#again || this.#attempts >= ATTEMPTS;
      if (hopeless) return this.#finish('failed', { why: text });
      this.#attempts += 1;
      this.#tell('retrying', { attempt: this.#attempts, why: text });
      const delay = Math.min(10_000, 500 * 2 ** (this.#attempts - 1));
      setTimeout(() => this.#over || this.#open(), delay * (0.5 + Math.random() / 2));
    };
  }

  /** @param {string} type @param {object} [detail] */
  #tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  /** @param {string} type @param {object} [detail] */
  #finish(type, detail) {
    this.#over = true;
    this.#wake();
    this.#tell(type, detail);
  }

  /** Live sound; false when it was dropped because there is no connection or it is too slow. @param {ArrayBuffer} block @param {number} most */
  send(block, most) {
    const socket = this.#socket;
    if (!socket || socket.readyState !== WebSocket.OPEN || socket.bufferedAmount > most || this.#ending) return false;
    socket.send(block);
    this.#sent += block.byteLength;
    return true;
  }

  /** Tags from here on. @param {Record<string, string>} tags */
  title(tags) {
    this.#tags = tags;
    const socket = this.#socket;
    if (socket?.readyState === WebSocket.OPEN) socket.send(JSON.stringify({ type: 'metadata', tags }));
  }

  /** Sends a whole stream no faster than it plays, then ends the programme. @param {ReadableStream<Uint8Array>} stream */
  async stream(stream) {
    const begun = performance.now();
    const reader = stream.getReader();
    try {
      for (;;) {
        const { value, done } = await reader.read();
        if (done) break;
        for (let at = 0; at < value.length; at += 16_384) {
          if (!await this.#room(begun)) return;
          const piece = value.slice(at, at + 16_384);
          this.#socket?.send(piece);
          this.#sent += piece.length;
        }
      }
      if (await this.#room(begun)) this.end();
    } finally {
      reader.cancel().catch(() => {});
    }
  }

  /** Waits until more may be sent; false when nothing may any longer. @param {number} begun */
  async #room(begun) {
    for (;;) {
      if (this.#over || this.#ending) return false;
      const played = this.#base === null ? 0 : this.#acked.media_time - this.#base;
      const early = played - AHEAD - (performance.now() - begun) / 1000;
      const open = this.#socket?.readyState === WebSocket.OPEN;
      if (open && early <= 0 && this.#sent - this.#acked.bytes < UNACKNOWLEDGED) return true;
      const told = new Promise((wake) => { this.#wake = () => wake(undefined); });
      await (open && early > 0 ? sleep(Math.min(1000, early * 1000)) : told);
    }
  }

  /** The programme is complete. `done` follows once the relay has everything. */
  end() {
    if (this.#over) return;
    this.#ending = true;
    this.#wake();
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send('{"type":"end"}');
    else {
      this.#socket?.close();
      this.#finish('done');
    }
  }
}
