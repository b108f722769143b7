import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { attach, closedBySocket, closedByStatus, open } from '../src/transport.js';

/** Collects what a transport reports; `closed` is resolved by its last call. */
function recorder(onBytes = () => undefined) {
  const seen = { opens: [], bytes: [] };
  let finish;
  const closed = new Promise((resolve) => { finish = resolve; });
  return {
    seen, closed,
    handlers: { opened: (framed) => seen.opens.push(framed), bytes: (b) => { seen.bytes.push(...b); return onBytes(b); }, text() {}, closed: finish },
  };
}

/** A server for one test. */
async function serving(handler, use) {
  const server = createServer(handler);
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  try {
    await use(`http://127.0.0.1:${server.address().port}/a.mp3`);
  } finally {
    server.closeAllConnections();
    server.close();
  }
}

test('close codes say whether to come back', () => {
  for (const code of [1001, 1006, 1011, 1012, 1013, 4000, 4001, 4003, 4499]) assert.equal(closedBySocket(code, '', true).worth, true, `${code}`);
  for (const code of [1002, 1003, 1008, 4501, 4502, 4504, 4509, 4515, 4999]) assert.equal(closedBySocket(code, '', true).worth, false, `${code}`);
  assert.equal(closedBySocket(4500, '', true).error, null);
  assert.equal(closedBySocket(1000, '', true).error, null);
  assert.equal(closedBySocket(4504, 'nothing at /x', true).error?.reason, 'mount_not_found');
  assert.match(closedBySocket(4502, 'mode: no such mode', true).error?.message ?? '', /code 4502, mode: no such mode/);
  assert.equal(closedBySocket(1006, '', false).error?.reason, 'unreachable');
  assert.equal(closedBySocket(1006, '', true).error?.reason, 'connection_lost');
});

test('statuses say whether to come back', () => {
  for (const status of [429, 500, 502, 503, 504]) assert.equal(closedByStatus(status, 'x').worth, true, `${status}`);
  for (const status of [400, 401, 403, 404, 410]) assert.equal(closedByStatus(status, 'x').worth, false, `${status}`);
  assert.equal(closedByStatus(404, 'x').error?.reason, 'mount_not_found');
  assert.equal(closedByStatus(503, 'x').error?.code, 2);
});

test('an http stream arrives whole and ends', async () => {
  await serving((_, response) => { response.write(Buffer.from([1, 2])); response.end(Buffer.from([3])); }, async (url) => {
    const { seen, closed, handlers } = recorder();
    open(url, handlers);
    assert.deepEqual(await closed, { error: null, worth: false });
    assert.deepEqual(seen, { opens: [false], bytes: [1, 2, 3] });
  });
});

test('a missing mount is named', async () => {
  await serving((_, response) => { response.statusCode = 404; response.end(); }, async (url) => {
    const { closed, handlers } = recorder();
    open(url, handlers);
    const { error, worth } = await closed;
    assert.deepEqual([error?.reason, worth, error?.detail.includes('404')], ['mount_not_found', false, true]);
  });
});

test('a connection cut in the middle is lost, not ended', async () => {
  await serving((_, response) => { response.write(Buffer.from([1])); setTimeout(() => response.socket.destroy(), 30); }, async (url) => {
    const { closed, handlers } = recorder();
    open(url, handlers);
    const { error, worth } = await closed;
    assert.deepEqual([error?.reason, worth], ['connection_lost', true]);
  });
});

test('nobody listening is unreachable', async () => {
  const { closed, handlers } = recorder();
  open('http://127.0.0.1:1/a', handlers);
  const { error, worth } = await closed;
  assert.deepEqual([error?.reason, worth], ['unreachable', true]);
});

test('an address of another scheme, to which a server may send us, is told', async () => {
  const { closed, handlers } = recorder();
  open('nothing://x/a', handlers);
  assert.equal((await closed).error?.reason, 'unreachable');
});

test('a stream is read no faster than it is taken', async () => {
  let pulled = 0;
  const stream = new ReadableStream({ pull(c) { pulled += 1; c.enqueue(new Uint8Array([pulled])); } }, { highWaterMark: 1 });
  const { seen, handlers } = recorder(() => new Promise(() => {}));
  const connection = attach(stream, handlers);
  await sleep(20);
  assert.equal(seen.bytes.length, 1);
  assert.ok(pulled <= 3, `${pulled} pulled`);
  connection.close();
});

test('after close() no handler is called', async () => {
  let controller;
  const stream = new ReadableStream({ start(c) { controller = c; } });
  const { seen, closed, handlers } = recorder();
  const connection = attach(stream, handlers);
  connection.close();
  await sleep(10);
  assert.throws(() => controller.enqueue(new Uint8Array([1])), 'the stream was cancelled');
  assert.equal(await Promise.race([closed, sleep(20, 'silent')]), 'silent');
  assert.deepEqual(seen.bytes, []);
});

test('a stream of something else is said to be one', async () => {
  const stream = new ReadableStream({ start(c) { c.enqueue('text'); c.close(); } });
  const { closed, handlers } = recorder();
  attach(stream, handlers);
  const { error, worth } = await closed;
  assert.deepEqual([error?.reason, worth], ['unsupported_media', false]);
  assert.match(error?.message ?? '', /got "text"/);
});

test('srcObject of another kind is a TypeError', () => {
  assert.throws(() => attach({}, recorder().handlers), { name: 'TypeError', message: /got Object/ });
});
