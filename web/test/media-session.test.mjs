import assert from 'node:assert/strict';
import { afterEach, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { FakeSocket, chunk, welcome } from './fakes.mjs';
import { Player } from 'seamcast';
import { announce } from 'seamcast/media-session';

const session = { metadata: null, playbackState: 'none', handlers: {},
  setActionHandler(action, handler) {
    if (action === 'hangup') throw new TypeError('unknown action');
    this.handlers[action] = handler;
  } };
const audioSession = { type: 'auto' };
Object.defineProperty(globalThis, 'navigator', { configurable: true, value: { mediaSession: session, audioSession } });
globalThis.MediaMetadata = class { constructor(init) { Object.assign(this, init); } };

const players = [];
function start(about) {
  FakeSocket.all.length = 0;
  const player = new Player();
  players.push(player);
  const end = announce(player, about);
  player.src = 'ws://relay.example/a.opus';
  player.play().catch(() => {});
  return { player, end };
}
afterEach(async () => { for (const player of players.splice(0)) await player.close(); });

async function join(more) {
  for (let i = 0; i < 200 && !FakeSocket.all[0]; i += 1) await sleep(5);
  await sleep(20); // the module
  const [ws] = FakeSocket.all;
  ws.open();
  ws.say(welcome(more));
  ws.media(chunk(5));
  return ws;
}

const set = () => Object.keys(session.handlers).filter((action) => session.handlers[action]).sort();

test('from play on the system knows what plays, until the source is closed', async () => {
  const { player } = start({ title: 'Radio', artist: 'Example', artwork: [{ src: '/logo.png' }] });
  assert.deepEqual({ ...session.metadata }, { title: 'Radio', artist: 'Example', album: '', artwork: [{ src: '/logo.png' }] });
  assert.equal(session.playbackState, 'playing');
  player.dispatchEvent(Object.assign(new Event('metadata'), { tags: { TITLE: 'Song', ARTIST: 'Band' } }));
  assert.equal(session.metadata.title, 'Song');
  assert.equal(session.metadata.artist, 'Band');
  player.dispatchEvent(Object.assign(new Event('metadata'), { tags: {} }));
  assert.equal(session.metadata.title, 'Radio');
  player.pause();
  assert.equal(session.playbackState, 'paused');
  await player.close();
  assert.equal(session.metadata, null);
  assert.equal(session.playbackState, 'none');
  assert.deepEqual(set(), []);
});

test('after a failure the system offers to play', async () => {
  const { player } = start();
  const ws = await join();
  assert.equal(session.playbackState, 'playing');
  ws.media(new Uint8Array(44).fill(9));
  for (let i = 0; i < 200 && !player.error; i += 1) await sleep(5);
  assert.equal(player.error?.reason, 'bad_message');
  assert.equal(session.playbackState, 'paused');
});

test("what is announced is playback to the system, unless the host has said otherwise", async () => {
  audioSession.type = 'auto';
  start();
  assert.equal(audioSession.type, 'playback');
  audioSession.type = 'play-and-record';
  start();
  assert.equal(audioSession.type, 'play-and-record');
});

test('its buttons play and pause, and seek where the source can', async () => {
  const { player } = start();
  assert.deepEqual(set(), ['pause', 'play', 'stop']);
  session.handlers.pause();
  assert.equal(player.paused, true);
  session.handlers.play();
  assert.equal(player.paused, false);
  const ws = await join({ seekable: [0, 60] });
  player.dispatchEvent(new Event('loadedmetadata'));
  assert.deepEqual(set(), ['pause', 'play', 'seekbackward', 'seekforward', 'seekto', 'stop']);
  session.handlers.seekto({ seekTime: 12.5 });
  session.handlers.seekto({ seekTime: 99 });
  session.handlers.seekbackward({});
  assert.deepEqual(ws.sent.filter(({ type }) => type === 'seek').map(({ from }) => from).slice(0, 2), ['12.400', '59.900']);
  assert.equal(ws.sent.filter(({ type }) => type === 'seek').length, 3);
});

test("the host's own actions go before, and unknown ones are let be", () => {
  let next = 0;
  start({ actions: { nexttrack: () => { next += 1; }, stop: null, hangup: () => {} } });
  assert.deepEqual(set(), ['nexttrack', 'pause', 'play']);
  session.handlers.nexttrack();
  assert.equal(next, 1);
});

test('of several players the one that began last has the session', async () => {
  const { player: first } = start({ title: 'first' });
  const { player: second, end } = start({ title: 'second' });
  first.pause();
  assert.equal(session.playbackState, 'playing');
  await first.close();
  assert.equal(session.metadata.title, 'second');
  end();
  assert.equal(session.metadata, null);
  second.pause();
  assert.equal(session.playbackState, 'none');
});

test('where there is no Media Session nothing happens', () => {
  Object.defineProperty(globalThis, 'navigator', { configurable: true, value: {} });
  const player = new Player();
  announce(player, { title: 'x' })();
});
