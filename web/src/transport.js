// @ts-check
/**
 * Gets bytes or messages from a WebSocket, a fetch response or a stream, one connection at
 * a time. Knows nothing of media, retries nothing: the player decides.
 */
import { PlayerError, failure, toBytes } from './errors.js';
import { inFirefox } from './firefox.js';
import { BINARY, CLOSE, TEXT, frame } from './frames.js';
import { isSocket } from './options.js';
import { SUBPROTOCOL } from './session.js';

/**
 * @typedef {object} Closed
 * @property {PlayerError | null} error Null when the stream ended as it should.
 * @property {boolean} worth Whether connecting again makes sense.
 *
 * @typedef {object} Handlers
 * @property {(framed: boolean, mute?: boolean) => void} opened `framed`: `seamcast.v1` messages follow, otherwise plain stream bytes. `mute`: over
 *   HTTP, where nothing can be sent.
 * @property {(bytes: Uint8Array) => void | Promise<void>} bytes A returned promise holds reading back, where the transport can.
 * @property {(message: string) => void} text
 * @property {(closed: Closed) => void} closed Last call, exactly once unless `close()` was called.
 *
 * @typedef {object} Connection
 * @property {(message: string) => void} send Ignored when nothing can be sent.
 * @property {() => void} close No handler is called afterwards.
 */

/** WebSocket close codes that say no retry can help: 4500–4999 by protocol, then RFC 6455's verdicts on the client. */
const FINAL = [1002, 1003, 1007, 1008, 1010];
const CODE_ENDED = 4500;
const CODE_NOT_FOUND = 4504;
const CODE_NO_FORMAT = 4515;
/** HTTP statuses after which trying again may help (RFC 9110 §15.5.9; RFC 8470 §5.2; RFC 6585 §4), beside the server's own faults. */
const HTTP_RETRY = [408, 425, 429];

/** @type {Closed} */
const AS_IT_SHOULD = { error: null, worth: false };

/** @param {import('./index.js').PlayerErrorReason} reason @param {string} detail @param {boolean} [worth] @returns {Closed} */
const closedBy = (reason, detail, worth = false) => ({ error: new PlayerError(reason, detail), worth });

/**
 * What a WebSocket close means.
 * @param {number} code @param {string} reason @param {boolean} wasOpen
 * @returns {Closed}
 */
export function closedBySocket(code, reason, wasOpen) {
  const said = reason ? `code ${code}, ${reason}` : `code ${code}`;
  if (code === CODE_ENDED || (code === 1000 && wasOpen)) return AS_IT_SHOULD;
  if (code === CODE_NOT_FOUND) return closedBy('mount_not_found', `no such mount (${said})`);
  if (code === CODE_NO_FORMAT) return closedBy('unsupported_media', `the server has no format for this player (${said})`);
  if ((code >= 4500 && code < 5000) || FINAL.includes(code)) return closedBy('refused', `the server closed the connection (${said})`);
  return wasOpen ? closedBy('connection_lost', `the connection broke (${said})`, true) : closedBy('unreachable', `cannot connect (${said})`, true);
}

/**
 * What an HTTP status that is not success means.
 * @param {number} status @param {string} url
 * @returns {Closed}
 */
export function closedByStatus(status, url) {
  const missing = status === 404 || status === 410;
  return closedBy(missing ? 'mount_not_found' : 'http_status', `the server answered ${status} for ${url}`, HTTP_RETRY.includes(status) || status >= 500);
}

/** What a mount answers a GET that accepts it with: the messages of `seamcast.v1` as they would come over a socket. */
const MEDIA_TYPE = `application/vnd.${SUBPROTOCOL}`;
/** Whether it did so far. */
let answered = true;

/**
 * @param {string} url
 * @param {Handlers} on
 * @param {boolean | null} [framed] Whether the server speaks `seamcast.v1`, once that is known.
 * @returns {Connection}
 */
export function open(url, on, framed = null) {
  // What no request can be made of is told by it.
  if (!url.startsWith('ws')) return reading(url, on);
  const dial = () => socket(framed === false ? new WebSocket(url) : new WebSocket(url, SUBPROTOCOL), on, { url, plainNext: framed === null });
  // Firefox carries a worker's sockets over the main thread, which may be busy, but not what it fetches.
  if (framed === false || globalThis.document || !answered || !inFirefox()) return dial();
  let connection = reading(url, on, () => {
    connection = dial();
  });
  return { send: (message) => connection.send(message), close: () => connection.close() };
}

/**
 * @param {unknown} source
 * @param {Handlers} on
 * @returns {Connection}
 */
export function attach(source, on) {
  return isSocket(source) ? socket(/** @type {WebSocket} */ (source), on) : reading(/** @type {ReadableStream<Uint8Array>} */ (source), on);
}

/**
 * @param {WebSocket} ws @param {Handlers} on
 * @param {{url?: string, plainNext?: boolean}} [own] For a socket of ours: its address, and whether a
 *   server that refuses may be one that fails a handshake for its subprotocol (RFC 6455 §4.1).
 * @returns {Connection}
 */
function socket(ws, on, { url, plainNext = false } = {}) {
  let opened = false;
  const stop = new AbortController();
  const { signal } = stop;
  let current = ws;
  const ready = () => {
    opened = true;
    on.opened(current.protocol === SUBPROTOCOL);
  };
  /** @param {number} code @param {string} reason */
  const closed = async (code, reason) => {
    let verdict = null;
    if (!opened && url && plainNext) {
      plainNext = false;
      // The browser keeps the handshake's status to itself; plain HTTP tells it.
      verdict = await whyRefused(url, signal);
      if (signal.aborted) return;
      if (!verdict) {
        current = new WebSocket(url);
        listen(current);
        return;
      }
    }
    stop.abort();
    on.closed(verdict ?? closedBySocket(code, reason, opened));
  };
  /** @param {WebSocket} s */
  const listen = (s) => {
    s.binaryType = 'arraybuffer';
    s.addEventListener('open', ready, { signal });
    s.addEventListener('message', ({ data: message }) => {
      if (typeof message === 'string') on.text(message);
      else if (message instanceof ArrayBuffer) void on.bytes(new Uint8Array(message));
    }, { signal });
    s.addEventListener('close', ({ code, reason }) => void closed(code, reason), { signal });
  };
  listen(ws);
  // Open or closed already, of which it tells nobody any more.
  if (ws.readyState) queueMicrotask(() => signal.aborted || (ws.readyState > WebSocket.OPEN ? on.closed(closedBySocket(1006, 'srcObject was closed already', false)) : ready()));
  return {
    send: (message) => void (current.readyState === WebSocket.OPEN && current.send(message)),
    close() {
      stop.abort();
      current.close(1000);
    },
  };
}

/**
 * The status with which a mount refuses, or null when it does not say.
 * @param {string} url @param {AbortSignal} signal
 */
async function whyRefused(url, signal) {
  try {
    const { status } = await fetch(url.replace(/^ws/, 'http'), { method: 'HEAD', cache: 'no-store', signal });
    return [401, 403, 404, 410, 503].includes(status) ? closedByStatus(status, url) : null;
  } catch {
    return null;
  }
}

/**
 * Reads what an address answers, or a stream, to its end, no faster than the handler takes it.
 * @param {string | ReadableStream<Uint8Array>} source
 * @param {Handlers} on
 * @param {() => void} [otherwise] The messages of a socket's address are wanted: called where they do not come so.
 * @returns {Connection}
 */
function reading(source, on, otherwise) {
  const abort = new AbortController();
  pump(source, on, abort.signal, otherwise).catch((cause) => on.closed({ error: failure(cause, 'unreachable', 'cannot connect'), worth: false }));
  return { send() {}, close: () => abort.abort() };
}

/** @param {string | ReadableStream<Uint8Array>} source @param {Handlers} on @param {AbortSignal} signal @param {() => void} [otherwise] */
async function pump(source, on, signal, otherwise) {
  /** @param {Closed} closed */
  const close = (closed) => void (signal.aborted || on.closed(closed));
  const framed = Boolean(otherwise);
  /** @type {ReadableStreamDefaultReader<Uint8Array> | undefined} */
  let reader;
  const stop = () => void reader?.cancel().catch(() => {});
  signal.addEventListener('abort', stop);
  try {
    let stream = source;
    if (typeof stream === 'string') {
      const { ok, status, headers, body } = await fetch(stream.replace(/^ws/, 'http'), { signal, cache: 'no-store', headers: { Accept: framed ? MEDIA_TYPE : '*/*' } });
      if (framed && headers.get('content-type') !== MEDIA_TYPE) {
        answered = !ok;
        await body?.cancel();
        throw null;
      }
      if (!ok || !body) return close(closedByStatus(status, stream));
      stream = body;
    }
    if (signal.aborted) return;
    on.opened(framed, framed);
    reader = stream.getReader();
    /** @type {Uint8Array} */
    let held = new Uint8Array();
    for (;;) {
      const { done, value } = await reader.read();
      if (signal.aborted) return;
      if (done) return close(framed ? closedBySocket(1006, '', true) : AS_IT_SHOULD);
      const bytes = toBytes(value, 'srcObject');
      if (!framed) {
        await on.bytes(bytes);
        continue;
      }
      const all = new Uint8Array(held.length + bytes.length);
      all.set(held);
      all.set(bytes, held.length);
      held = all;
      for (let next; (next = frame(held));) {
        const [kind, payload] = next;
        held = next[2];
        if (kind === BINARY) await on.bytes(payload);
        if (signal.aborted) return;
        if (kind === TEXT) on.text(new TextDecoder().decode(payload));
        if (kind === CLOSE) return close(closedBySocket(payload[0] << 8 | payload[1], new TextDecoder().decode(payload.subarray(2)), true));
      }
    }
  } catch (cause) {
    if (otherwise && !reader) return signal.aborted || otherwise();
    const wrong = cause instanceof PlayerError || /takes a/.test(/** @type {any} */ (cause)?.message);
    /** @type {[import('./index.js').PlayerErrorReason, string]} */
    const [reason, what] = reader ? [wrong ? 'unsupported_media' : 'connection_lost', 'the stream broke']
      : typeof source === 'string' ? ['unreachable', `cannot fetch ${source}`] : ['aborted', 'the stream is locked by another reader'];
    close({ error: failure(cause, reason, what), worth: !wrong && reason !== 'aborted' });
  } finally {
    stop();
  }
}
