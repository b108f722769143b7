import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { test } from 'node:test';
import { BINARY, CLOSE, TEXT, frame } from '../src/frames.js';
import { open } from '../src/transport.js';

const TYPE = 'application/vnd.seamcast.v1';

/** A frame as the relay sends it. */
function sent(kind, payload) {
  const length = payload.length < 126 ? [payload.length] : payload.length < 65536 ? [126, payload.length >> 8, payload.length & 255]
    : [127, 0, 0, 0, 0, payload.length >>> 24, payload.length >> 16 & 255, payload.length >> 8 & 255, payload.length & 255];
  return Buffer.from([kind, ...length, ...payload]);
}
const media = (length) => Uint8Array.from({ length }, (_, i) => i * 7);
const closing = (code, reason) => sent(CLOSE, [code >> 8, code & 255, ...Buffer.from(reason)]);

test('frames of every length are found once they are whole', () => {
  for (const length of [0, 1, 125, 126, 127, 65535, 65536, 70000]) {
    const bytes = sent(BINARY, media(length));
    const [kind, payload, rest] = frame(Buffer.concat([bytes, Buffer.from([1, 2, 3])]));
    assert.deepEqual([kind, payload.length, [...rest]], [BINARY, length, [1, 2, 3]]);
    assert.deepEqual(Buffer.from(payload), Buffer.from(media(length)));
    for (const cut of [0, 1, 2, 3, 4, 9, 10, bytes.length - 1]) if (cut < bytes.length) assert.equal(frame(bytes.subarray(0, cut)), undefined, `${length} cut at ${cut}`);
  }
});

test('what no relay sends is refused, and so is what would fill memory', () => {
  const bad = { name: 'PlayerError', reason: 'bad_message' };
  assert.throws(() => frame(Buffer.from([0x01, 1, 65])), bad, 'a fragment');
  assert.throws(() => frame(Buffer.from([0x81, 0x81, 1, 2, 3, 4, 65, 0, 0, 0])), bad, 'masked');
  assert.throws(() => frame(Buffer.from([0x82, 127, 0, 0, 0, 1, 0, 0, 0, 0])), bad, '4 GiB');
  assert.throws(() => frame(Buffer.from('OggS, and no frame at all')), bad);
});

/** A browser whose worker's sockets are slow, and a server; what the transport reports of it. */
async function listening(answer, use) {
  const requests = [];
  const server = createServer((request, response) => {
    requests.push(`${request.method} ${request.headers.accept}`);
    answer(response, request);
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const before = { navigator: Object.getOwnPropertyDescriptor(globalThis, 'navigator'), WebSocket: Object.getOwnPropertyDescriptor(globalThis, 'WebSocket') };
  const sockets = [];
  Object.defineProperty(globalThis, 'navigator', { value: { userAgent: 'Firefox/140.0' }, configurable: true });
  Object.defineProperty(globalThis, 'WebSocket', { configurable: true, value: class extends EventTarget { constructor(url) { super(); sockets.push(url); } close() {} } });
  try {
    await use(`ws://127.0.0.1:${server.address().port}/a.opus?from=e:1`, requests, sockets);
  } finally {
    for (const [name, was] of Object.entries(before)) was ? Object.defineProperty(globalThis, name, was) : delete globalThis[name];
    server.closeAllConnections();
    server.close();
  }
}

/** Connects, and resolves with all that came up to the close. */
const collect = (url, onBytes) => new Promise((resolve) => {
  const seen = { open: null, got: [] };
  open(url, {
    opened: (...how) => { seen.open = how; },
    bytes: (bytes) => { seen.got.push(bytes.length); return onBytes?.(bytes); },
    text: (text) => void seen.got.push(text),
    closed: (closed) => resolve({ ...seen, closed }),
  });
});

const programme = [sent(TEXT, Buffer.from('{"type":"welcome"}')), sent(0x89, []), sent(BINARY, media(200)), sent(BINARY, media(70_000)), sent(TEXT, Buffer.from('{"type":"end"}'))];

test('messages are fetched where sockets are slow, cut anywhere', async () => {
  for (const piece of [1e9, 1000, 7]) {
    await listening((response) => {
      response.writeHead(200, { 'Content-Type': TYPE });
      const bytes = Buffer.concat([...programme, closing(4500, 'over')]);
      for (let at = 0; at < bytes.length; at += piece) response.write(bytes.subarray(at, at + piece));
      response.end();
    }, async (url, requests, sockets) => {
      const { open: how, got, closed } = await collect(url);
      assert.deepEqual(how, [true, true]);
      assert.deepEqual(got, ['{"type":"welcome"}', 200, 70_000, '{"type":"end"}']);
      assert.deepEqual(closed, { error: null, worth: false });
      assert.deepEqual([requests, sockets], [[`GET ${TYPE}`], []]);
    });
  }
});

test('a close frame says why, and an end without one is a lost connection', async () => {
  for (const [last, reason, worth] of [[closing(4001, 'too slow'), 'connection_lost', true], [closing(4501, 'no'), 'refused', false], [Buffer.alloc(0), 'connection_lost', true], [Buffer.from('nonsense, no frame'), 'bad_message', false]]) {
    await listening((response) => {
      response.writeHead(200, { 'Content-Type': TYPE });
      response.end(Buffer.concat([...programme, last]));
    }, async (url) => {
      const { closed } = await collect(url);
      assert.deepEqual([closed.error?.reason, closed.worth], [reason, worth]);
    });
  }
});

test('what is not taken is not read on', async () => {
  let written = 0;
  await listening((response) => {
    response.writeHead(200, { 'Content-Type': TYPE });
    const more = () => {
      while (written < 100 << 20 && response.write(sent(BINARY, media(60_000)))) written += 60_000;
      response.once('drain', more);
    };
    more();
  }, async (url) => {
    const seen = [];
    const connection = open(url, { opened() {}, text() {}, closed() {}, bytes: (bytes) => { seen.push(bytes.length); return new Promise(() => {}); } });
    while (!seen.length) await new Promise((resolve) => { setTimeout(resolve, 5); });
    await new Promise((resolve) => { setTimeout(resolve, 100); });
    assert.deepEqual(seen, [60_000]);
    assert.ok(written < 50 << 20, `${written} bytes were taken from the server`);
    connection.close();
  });
});

// Last: it is remembered.
test('a server that refuses, or has something else, is asked for a socket', async () => {
  await listening((response) => response.writeHead(404).end(), async (url, requests, sockets) => {
    void collect(url);
    while (!sockets.length) await new Promise((resolve) => { setTimeout(resolve, 5); });
    assert.deepEqual(requests, [`GET ${TYPE}`]);
  });
  await listening((response) => { response.writeHead(200, { 'Content-Type': 'audio/ogg' }); response.write('OggS'); }, async (url, requests, sockets) => {
    void collect(url);
    while (!sockets.length) await new Promise((resolve) => { setTimeout(resolve, 5); });
    void collect(url);
    assert.deepEqual([requests, sockets], [[`GET ${TYPE}`], [url, url]], 'and not asked again');
  });
});
