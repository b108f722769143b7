import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { FakeContext, FakeSocket, chunk, heard, http, welcome } from './fakes.mjs';
import { Player } from 'seamcast';

const SRC = 'ws://relay.example/a.opus';
/** @type {Player} */
let player;
/** @type {string[]} */
let log;

beforeEach(() => {
  FakeSocket.all.length = 0;
  http.status = null;
});
afterEach(() => player.close());

function start(options = {}, src = SRC) {
  player = new Player({ reconnect: { baseDelay: 50, maxDelay: 50 }, ...options });
  log = heard(player);
  player.src = src;
  const playing = player.play();
  playing.catch(() => {});
  return playing;
}

/** The nth socket, once it exists. */
async function socket(n = 0) {
  for (let i = 0; i < 200 && !FakeSocket.all[n]; i += 1) await sleep(5);
  assert.ok(FakeSocket.all[n], `socket ${n} was never made`);
  return FakeSocket.all[n];
}

async function joined() {
  const ws = await socket();
  await sleep(20); // the module
  ws.open();
  ws.say(welcome());
  ws.media(chunk(5));
  return ws;
}

test('nothing is opened before play()', async () => {
  player = new Player();
  player.src = SRC;
  await sleep(10);
  assert.equal(FakeSocket.all.length, 0);
});

test('the join asks for the protocol and the mode, and keeps the join point of the address', async () => {
  start({ mode: 'complete' }, `${SRC}?from=start&token=x`);
  const ws = await socket();
  assert.equal(ws.protocols, 'seamcast.v1');
  assert.equal(ws.url.search, '?from=start&token=x&mode=complete');
});

test('a lost connection is made again where it stopped', async () => {
  start();
  const ws = await joined();
  const told = new Promise((resolve) => { player.addEventListener('reconnected', resolve, { once: true }); });
  ws.fail(1006);
  const again = await socket(1);
  assert.equal(again.url.searchParams.get('from'), 'e1:6');
  again.open();
  again.say(welcome({ from: 6, recovered: true }));
  assert.ok(!log.includes('reconnected'), 'not before media flows');
  again.media(chunk(6));
  assert.equal((await told).recovered, true);
  assert.ok(log.indexOf('reconnecting') < log.indexOf('reconnected'));
});

test('another epoch is told as not recovered', async () => {
  start();
  const ws = await joined();
  const told = new Promise((resolve) => { player.addEventListener('reconnected', resolve, { once: true }); });
  ws.fail(1006);
  const again = await socket(1);
  again.open();
  again.say(welcome({ epoch: 'e2', from: 0, recovered: false }));
  again.media(chunk(0));
  assert.equal((await told).detail.recovered, false);
});

test('goaway names the delay and the place', async () => {
  start();
  const ws = await joined();
  ws.say({ type: 'goaway', after_ms: 1, url: 'ws://other.example/a.opus' });
  ws.fail(4000);
  const again = await socket(1);
  assert.equal(again.url.host, 'other.example');
  assert.equal(again.url.searchParams.get('from'), 'e1:6');
});

test('a mount that does not exist is an error at once', async () => {
  const playing = start();
  const ws = await socket();
  await sleep(20);
  ws.open();
  ws.fail(4504, 'no mount /a.opus');
  await assert.rejects(playing, { name: 'PlayerError', reason: 'mount_not_found', message: /no mount \/a\.opus/ });
  assert.equal(player.error?.code, 4);
  assert.equal(log.filter((type) => type === 'error').length, 1);
  assert.equal(player.paused, true);
});

test('a mount that has just played may be missing for a while', async () => {
  start();
  (await joined()).fail(1006);
  const second = await socket(1);
  second.open();
  second.fail(4504);
  await socket(2);
  assert.equal(player.error, null);
});

test('a refused handshake is explained by what HTTP says', async () => {
  http.status = 404;
  const playing = start();
  (await socket()).fail(1006);
  await assert.rejects(playing, { reason: 'mount_not_found', message: /404 for ws:/ });
  assert.equal(FakeSocket.all.length, 1);
});

test('an address that never answers is given up after a few attempts', async () => {
  const playing = start();
  // The first attempt is made twice: a plain server refuses the subprotocol.
  for (let n = 0; n < 8; n += 1) (await socket(n)).fail(1006);
  await assert.rejects(playing, { reason: 'unreachable' });
  assert.deepEqual(FakeSocket.all.map(({ protocols }) => protocols ?? 'none').slice(0, 2), ['seamcast.v1', 'none']);
});

test('reconnect: false fails with the first loss', async () => {
  const playing = start({ reconnect: false });
  (await joined()).fail(1006);
  await assert.rejects(playing, { reason: 'connection_lost' });
});

test('play() after an error starts over', async () => {
  const playing = start({ reconnect: false });
  (await joined()).fail(1006);
  await assert.rejects(playing);
  player.play().catch(() => {});
  const again = await socket(1);
  assert.equal(again.url.searchParams.get('from'), null);
  assert.equal(player.error, null);
});

test('pause() ends a pending play(), setting src too', async () => {
  const playing = start();
  await socket();
  player.pause();
  await assert.rejects(playing, { name: 'AbortError', message: /pause/ });
  const again = player.play();
  player.src = 'ws://relay.example/b.opus';
  await assert.rejects(again, { name: 'AbortError', message: /source was changed/ });
  assert.ok(log.includes('emptied'));
});

test('what browsers block is told as such', async () => {
  const context = new FakeContext();
  context.state = 'blocked';
  const playing = start({ context });
  await assert.rejects(playing, { name: 'NotAllowedError', message: /unlock\(\)/ });
  assert.ok(log.includes('unlockrequired'));
  assert.equal(player.paused, true);
});

test('a source that drops and returns is told', async () => {
  start();
  const ws = await joined();
  ws.say({ type: 'offline', grace_ms: 5000 });
  ws.say({ type: 'online' });
  assert.deepEqual(log.slice(-2), ['sourceoffline', 'sourceonline']);
});

test('seek asks the relay and drops what was on its way', async () => {
  start();
  const ws = await joined();
  ws.say(welcome({ seekable: [0, 60] }));
  player.seek(12.5).catch(() => {});
  assert.deepEqual(ws.sent.find(({ type }) => type === 'seek'), { type: 'seek', from: '12.400' });
  assert.ok(log.includes('seeking'));
  assert.deepEqual([player.seekable.start(0), player.seekable.end(0)], [0, 60]);
});

test('of two seeks in a row the second one is heard', async () => {
  start();
  const ws = await joined();
  ws.say(welcome({ seekable: [0, 60] }));
  player.seek(12).catch(() => {});
  player.seek(40).catch(() => {});
  const { bytesReceived } = player.getStats();
  const answer = (to) => {
    ws.say({ type: 'gap', from: 6, to, reason: 'seek' });
    // Without its config a chunk that reaches the engine is damage.
    ws.media(chunk(to));
  };
  /** @type {string[]} */
  const damage = [];
  player.addEventListener('decodeerror', ({ message }) => { damage.push(message); });
  answer(119);
  // Its headers, too: their last page is numbered to come right before the chunk of that seek.
  ws.say({ type: 'config', generation: 1, container: 'ogg', codec: 'opus', sample_rate: 48000, channels: 2, headers: '' });
  await sleep(100);
  assert.deepEqual(damage, [], 'what the first seek brings is dropped');
  answer(399);
  await sleep(100);
  assert.match(damage.join(), /^chunk 399 needs generation 1, of which no config was received$/);
  assert.ok(player.getStats().bytesReceived > bytesReceived);
});

test('a message too short for its header is an error, one of an unknown kind is skipped', async () => {
  const playing = start();
  const ws = await joined();
  ws.media(new Uint8Array(44).fill(9).fill(1, 0, 1));
  ws.media(new Uint8Array(39));
  await assert.rejects(playing, { reason: 'bad_message', message: /39 bytes, a header has 40/ });
});

test('a protocol of another version is an error, not silence', async () => {
  const playing = start();
  const ws = await joined();
  ws.media(new Uint8Array(44).fill(9));
  await assert.rejects(playing, { reason: 'bad_message', message: /version 9/ });
});

test('close() frees everything and may be called twice', async () => {
  start();
  const ws = await joined();
  const { context } = player;
  await player.close();
  await player.close();
  assert.equal(ws.closedWith, 1000);
  assert.equal(context.state, 'closed');
});

test("a host's context is left open", async () => {
  const context = new FakeContext();
  start({ context });
  await joined();
  assert.equal(player.context, context);
  await player.close();
  assert.equal(context.state, 'running');
});
