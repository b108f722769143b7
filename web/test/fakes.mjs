/** Just enough of a browser for the `Player` to run in Node: what it calls, recorded. */
import { readFileSync } from 'node:fs';

export class FakeContext extends EventTarget {
  state = 'running';
  sampleRate = 48000;
  currentTime = 0;
  baseLatency = 0.01;
  outputLatency = 0.02;
  destination = { channelCount: 2 };
  /** Starts of scheduled buffers: `[seconds, frames]`. */
  scheduled = [];

  async resume() { if (this.state !== 'blocked') this.state = 'running'; }

  async close() { this.state = 'closed'; }

  createBuffer(channels, length, sampleRate) {
    const planes = Array.from({ length: channels }, () => new Float32Array(length));
    return { length, sampleRate, numberOfChannels: channels, getChannelData: (c) => planes[c], copyToChannel: (plane, c) => planes[c].set(plane) };
  }

  createBufferSource() {
    const { scheduled } = this;
    return { buffer: null, connect() {}, disconnect() {}, start(at) { scheduled.push([at, this.buffer.length]); }, stop() {}, set onended(f) {}, addEventListener() {} };
  }

  createGain() { return new globalThis.GainNode(this); }
}

export class FakeSocket extends EventTarget {
  static OPEN = 1;
  /** Every socket made, in order. */
  static all = [];
  readyState = 0;
  protocol = '';
  sent = [];

  constructor(url, protocols) {
    super();
    Object.assign(this, { url: new URL(url), protocols });
    FakeSocket.all.push(this);
  }

  send(text) { this.sent.push(JSON.parse(text)); }

  close(code) { this.closedWith = code; this.readyState = 3; }

  open(protocol = 'seamcast.v1') {
    this.protocol = protocol;
    this.readyState = 1;
    this.dispatchEvent(new Event('open'));
  }

  say(message) { this.#message(JSON.stringify(message)); }

  media(bytes) { this.#message(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length)); }

  fail(code, reason = '') {
    this.readyState = 3;
    this.dispatchEvent(Object.assign(new Event('close'), { code, reason }));
  }

  #message(data) { this.dispatchEvent(Object.assign(new Event('message'), { data })); }
}

/** What plain HTTP says of a mount; null: nobody answers. */
export const http = { status: /** @type {number | null} */ (null) };
globalThis.fetch = async (url) => {
  if (String(url).startsWith('file:')) return new Response(readFileSync(new URL(url)), { headers: { 'content-type': 'application/wasm' } });
  if (http.status === null) throw new TypeError('fetch failed');
  return new Response(null, { status: http.status });
};
globalThis.AudioContext = FakeContext;
globalThis.document = new EventTarget();
globalThis.WebSocket = FakeSocket;
globalThis.GainNode = class { gain = { value: 1, setTargetAtTime() {} }; connect() {} disconnect() {} };

/** Events of a player as they come, in words. */
export function heard(player) {
  const log = [];
  for (const type of ['play', 'pause', 'waiting', 'error', 'emptied', 'reconnecting', 'reconnected', 'unlockrequired', 'sourceoffline', 'sourceonline', 'ended', 'durationchange', 'volumechange', 'seeking']) {
    player.addEventListener(type, () => log.push(type));
  }
  return log;
}

export const welcome = (more) => ({ type: 'welcome', mount: '/a.opus', epoch: 'e1', oldest: 0, head: 9, live: true, from: 5, media_time: 0.5, server_time: Date.now(), recovered: false, seekable: [0, 0.9], ...more });

/** A media message of 100 ms whose payload is no audio. */
export function chunk(seq) {
  const bytes = new Uint8Array(44);
  const view = new DataView(bytes.buffer);
  bytes.set([1, 1, 1]);
  view.setUint32(4, 1);
  view.setBigUint64(8, BigInt(seq));
  view.setBigUint64(16, BigInt(seq) * 70_560_000n);
  view.setBigUint64(24, 70_560_000n);
  return bytes;
}
