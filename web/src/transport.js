// @ts-check
/**
 * Gets bytes from a WebSocket, a fetch response or a stream, one connection at
 * a time. Knows nothing of media, retries nothing: the player decides.
 */
import { PlayerError, describe, toBytes } from './errors.js';
import { SUBPROTOCOL } from './session.js';

/**
 * @typedef {object} Closed
 * @property {PlayerError | null} error Null when the stream ended as it should.
 * @property {boolean} retry Whether connecting again makes sense.
 * @property {number} code WebSocket close code or HTTP status, 0 when there is none.
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
const FINAL = new Set([1002, 1003, 1007, 1008, 1010]);
const CODE_ENDED = 4500;
const CODE_NOT_FOUND = 4504;
/** HTTP statuses after which trying again may help (RFC 9110 §15.5.9, §15.6; RFC 6585 §4). */
const HTTP_RETRY = new Set([408, 425, 429, 500, 502, 503, 504]);

/**
 * What a WebSocket close means.
 * @param {number} code @param {string} reason @param {boolean} wasOpen
 * @returns {Closed}
 */
export function closedBySocket(code, reason, wasOpen) {
  const said = reason ? `code ${code}, ${reason}` : `code ${code}`;
  if (code === CODE_ENDED || (code === 1000 && wasOpen)) return { error: null, retry: false, code };
  if (code === CODE_NOT_FOUND) return { error: new PlayerError('mount_not_found', `no such mount (${said})`), retry: false, code };
  if (code === 4515) return { error: new PlayerError('unsupported_media', `the server has no format for this player (${said})`), retry: false, code };
  if ((code >= 4500 && code < 5000) || FINAL.has(code)) {
    return { error: new PlayerError('refused', `the server closed the connection (${said})`), retry: false, code };
  }
  return {
    error: wasOpen ? new PlayerError('connection_lost', `the connection broke (${said})`) : new PlayerError('unreachable', `cannot connect (${said})`),
    retry: true, code,
  };
}

/**
 * What an HTTP status that is not success means.
 * @param {number} status @param {string} url
 * @returns {Closed}
 */
export function closedByStatus(status, url) {
  const missing = status === 404 || status === 410;
  return {
    error: new PlayerError(missing ? 'mount_not_found' : 'http_status', `the server answered ${status} for ${url}`),
    retry: HTTP_RETRY.has(status), code: status,
  };
}

/**
 * @param {string} url
 * @param {Handlers} on
 * @param {boolean | null} [framed] Whether the server speaks `seamcast.v1`, once that is known.
 * @returns {Connection}
 */
export function open(url, on, framed = null) {
  const { protocol } = new URL(url);
  if (protocol === 'ws:' || protocol === 'wss:') {
    return socket(framed === false ? new WebSocket(url) : new WebSocket(url, SUBPROTOCOL), on, { url, plainNext: framed === null });
  }
  if (protocol === 'http:' || protocol === 'https:') return request(url, on);
  throw new PlayerError('unreachable', `cannot open ${url}`, { remedy: 'use a ws, wss, http or https address' });
}

/**
 * @param {unknown} source
 * @param {Handlers} on
 * @returns {Connection}
 */
export function attach(source, on) {
  if (typeof WebSocket !== 'undefined' && source instanceof WebSocket) return socket(source, on);
  if (typeof ReadableStream !== 'undefined' && source instanceof ReadableStream) {
    const abort = new AbortController();
    on.open(false);
    void pump(source, on, abort);
    return { send() {}, close: () => abort.abort() };
  }
  throw new TypeError(`srcObject takes a WebSocket, a ReadableStream of bytes or null, got ${describe(source)}`);
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
    return status === 404 || status === 410 || status === 401 || status === 403 || status === 503 ? closedByStatus(status, url) : null;
  } catch {
    return null;
  }
}

/**
 * @param {string} url @param {Handlers} on
 * @returns {Connection}
 */
function request(url, on) {
  const abort = new AbortController();
  void (async () => {
    try {
      const response = await fetch(url, { signal: abort.signal, cache: 'no-store' });
      if (!response.ok || !response.body) {
        if (!abort.signal.aborted) on.close(closedByStatus(response.status, url));
        return;
      }
      if (abort.signal.aborted) return;
      on.open(false);
      await pump(response.body, on, abort);
    } catch (cause) {
      if (abort.signal.aborted) return;
      on.close({ error: new PlayerError('unreachable', `cannot fetch ${url} (${/** @type {Error} */ (cause)?.message ?? cause})`, { cause }), retry: true, code: 0 });
    }
  })();
  return { send() {}, close: () => abort.abort() };
}

/**
 * Reads a stream to its end, no faster than the handler takes it.
 * @param {ReadableStream<Uint8Array>} stream @param {Handlers} on @param {AbortController} abort
 */
async function pump(stream, on, { signal }) {
  /** @type {ReadableStreamDefaultReader<Uint8Array>} */
  let reader;
  try {
    reader = stream.getReader();
  } catch (cause) {
    on.close({ error: new PlayerError('aborted', 'the stream is locked by another reader', { cause }), retry: false, code: 0 });
    return;
  }
  signal.addEventListener('abort', () => void reader.cancel().catch(() => {}), { once: true });
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (signal.aborted) return;
      if (done) break;
      await on.bytes(toBytes(value, 'srcObject'));
    }
    if (!signal.aborted) on.close({ error: null, retry: false, code: 0 });
  } catch (cause) {
    if (signal.aborted) return;
    const wrong = cause instanceof TypeError && /takes a/.test(cause.message);
    on.close({ error: new PlayerError(wrong ? 'unsupported_media' : 'connection_lost', `the stream broke (${/** @type {Error} */ (cause)?.message ?? cause})`, { cause }), retry: !wrong, code: 0 });
  }
}
