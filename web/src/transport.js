// @ts-check
/**
 * Gets bytes from a WebSocket, a fetch response or a stream, one connection at
 * a time. Knows nothing of media, retries nothing: the player decides.
 */
import { PlayerError, failure, toBytes } from './errors.js';
import { isSocket } from './options.js';
import { SUBPROTOCOL } from './session.js';

/**
 * @typedef {object} Closed
 * @property {PlayerError | null} error Null when the stream ended as it should.
 * @property {boolean} retry Whether connecting again makes sense.
 *
 * @typedef {object} Handlers
 * @property {(framed: boolean) => void} open `framed`: `seamcast.v1` messages follow, otherwise plain stream bytes.
 * @property {(bytes: Uint8Array) => void | Promise<void>} bytes A returned promise holds reading back, where the transport can.
 * @property {(message: string) => void} text
 * @property {(closed: Closed) => void} close Last call, exactly once unless `close()` was called.
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
/** HTTP statuses after which trying again may help (RFC 9110 §15.5.9, §15.6; RFC 6585 §4). */
const HTTP_RETRY = [408, 425, 429, 500, 502, 503, 504];

/** @type {Closed} */
const AS_IT_SHOULD = { error: null, retry: false };

/** @param {import('./index.js').PlayerErrorReason} reason @param {string} detail @param {boolean} [retry] @returns {Closed} */
const closedBy = (reason, detail, retry = false) => ({ error: new PlayerError(reason, detail), retry });

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
  return closedBy(missing ? 'mount_not_found' : 'http_status', `the server answered ${status} for ${url}`, HTTP_RETRY.includes(status));
}

/**
 * @param {string} url
 * @param {Handlers} on
 * @param {boolean | null} [framed] Whether the server speaks `seamcast.v1`, once that is known.
 * @returns {Connection}
 */
export function open(url, on, framed = null) {
  // What no request can be made of is told by it.
  if (!url.startsWith('ws')) return reading(url, on);
  return socket(framed === false ? new WebSocket(url) : new WebSocket(url, SUBPROTOCOL), on, { url, plainNext: framed === null });
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
    on.open(current.protocol === SUBPROTOCOL);
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
    on.close(verdict ?? closedBySocket(code, reason, opened));
  };
  /** @param {WebSocket} s */
  const listen = (s) => {
    s.binaryType = 'arraybuffer';
    s.addEventListener('open', ready, { signal });
    s.addEventListener('message', ({ data: message }) => {
      if (typeof message === 'string') on.text(message);
      else if (message instanceof ArrayBuffer) void on.bytes(new Uint8Array(message));
      // A socket handed over may have queued blobs before its binaryType was set.
      else if (message instanceof Blob) void message.arrayBuffer().then((b) => signal.aborted || on.bytes(new Uint8Array(b)));
    }, { signal });
    s.addEventListener('close', ({ code, reason }) => void closed(code, reason), { signal });
  };
  listen(ws);
  if (ws.readyState === WebSocket.OPEN) queueMicrotask(() => signal.aborted || ready());
  else if (ws.readyState > WebSocket.OPEN) queueMicrotask(() => signal.aborted || on.close(closedBySocket(1006, 'srcObject was closed already', false)));
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
 * @param {string | ReadableStream<Uint8Array>} source @param {Handlers} on
 * @returns {Connection}
 */
function reading(source, on) {
  const abort = new AbortController();
  void pump(source, on, abort.signal);
  return { send() {}, close: () => abort.abort() };
}

/** @param {string | ReadableStream<Uint8Array>} source @param {Handlers} on @param {AbortSignal} signal */
async function pump(source, on, signal) {
  /** @param {Closed} closed */
  const close = (closed) => void (signal.aborted || on.close(closed));
  /** @type {ReadableStreamDefaultReader<Uint8Array>} */
  let reader;
  try {
    let stream = source;
    if (typeof stream === 'string') {
      const { ok, status, body } = await fetch(stream, { signal, cache: 'no-store' });
      if (!ok || !body) return close(closedByStatus(status, stream));
      stream = body;
    }
    if (signal.aborted) return;
    on.open(false);
    reader = stream.getReader();
  } catch (cause) {
    const retry = typeof source === 'string';
    return close({ error: retry ? failure(cause, 'unreachable', `cannot fetch ${source}`) : failure(cause, 'aborted', 'the stream is locked by another reader'), retry });
  }
  signal.addEventListener('abort', () => void reader.cancel().catch(() => {}), { once: true });
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (signal.aborted) return;
      if (done) return close(AS_IT_SHOULD);
      await on.bytes(toBytes(value, 'srcObject'));
    }
  } catch (cause) {
    const retry = !(cause instanceof TypeError && /takes a/.test(cause.message));
    close({ error: failure(cause, retry ? 'connection_lost' : 'unsupported_media', 'the stream broke'), retry });
  }
}
