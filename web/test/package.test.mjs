import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';

/** Runs a module in a fresh Node, as a user of the package would. */
function run(code) {
  const { status, stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', code], { encoding: 'utf8', cwd: import.meta.dirname });
  assert.equal(status, 0, stderr);
  assert.equal(stderr, '');
  return stdout.trim();
}

test('importing touches no browser global', () => {
  const code = `
    const touched = [];
    for (const name of ['window', 'document', 'navigator', 'AudioContext', 'HTMLElement', 'customElements', 'localStorage']) {
      Object.defineProperty(globalThis, name, { configurable: true, get() { touched.push(name); } });
    }
    await import('seamcast'); await import('seamcast/decoder');
    console.log(touched.join());
    await import('seamcast/element');`;
  assert.equal(run(code), '');
});

test('a server may construct a player and ask what it can play', () => {
  const code = `
    import { Player } from 'seamcast';
    const player = new Player();
    player.src = 'wss://radio.example/live.opus';
    player.volume = 0.5;
    console.log(Player.isSupported().supported, Player.canPlayType('audio/mpeg'), Player.canPlayType('audio/ogg; codecs="opus"'),
      Player.canPlayType('audio/ogg'), JSON.stringify(Player.canPlayType('audio/ogg; codecs=vorbis')), player.paused, player.readyState, player.buffered.length);
    await player.play().catch((e) => console.log(e.name, e.reason));
    await player.close();`;
  assert.equal(run(code), 'false probably probably maybe "" true 0 0\nPlayerError no_audio');
});

test('wrong arguments are told what they are', async () => {
  const { Player } = await import('seamcast');
  assert.throws(() => new Player({ latency: /** @type {any} */ ('low') }), { name: 'TypeError', message: /latency takes 'auto', seconds/ });
  for (const latency of [-1, NaN, Infinity, '1', true, null, { min: 2, max: 1 }, { min: '1' }, { max: NaN }]) {
    assert.throws(() => new Player({ latency: /** @type {any} */ (latency) }), { name: 'TypeError', message: /latency takes 'auto', seconds/ }, `${latency}`);
  }
  for (const [name, choices] of Object.entries({ mode: "'live' or 'complete'", output: "'auto' or 'worklet' or 'buffers'", thread: "'auto' or 'worker' or 'main'", preload: "'none' or 'auto'" })) {
    assert.throws(() => new Player({ [name]: 'fast' }), { name: 'TypeError', message: `${name} takes ${choices}, got "fast"` });
    assert.ok(new Player({ [name]: undefined }));
  }
  const player = new Player();
  assert.throws(() => { player.src = 'file:///x'; }, { name: 'TypeError', message: /got "file:\/\/\/x"/ });
  assert.throws(() => { player.srcObject = /** @type {any} */ ({}); }, { name: 'TypeError' });
  assert.throws(() => { player.volume = 2; }, { name: 'IndexSizeError' });
  assert.throws(() => { player.volume = NaN; }, { name: 'TypeError', message: 'volume takes 0 to 1, got NaN' });
  player.volume = /** @type {any} */ ('0.5');
  assert.equal(player.volume, 0.5);
  assert.throws(() => { player.playbackRate = 2; }, { name: 'NotSupportedError' });
  await assert.rejects(player.append(/** @type {any} */ ('x')), { name: 'TypeError', message: /append takes a Uint8Array/ });
  for (const time of [NaN, Infinity, -Infinity, 'soon', undefined]) {
    await assert.rejects(player.seek(/** @type {any} */ (time)), { name: 'TypeError', message: /a position takes seconds, got / });
    assert.throws(() => { player.currentTime = /** @type {any} */ (time); }, { name: 'TypeError', message: /a position takes seconds, got / });
  }
  for (const time of [-1, 1e9, 'live']) await assert.rejects(player.seek(/** @type {any} */ (time)), { name: 'NotSupportedError' });
  // As of an element without a source.
  player.currentTime = 5;
  player.src = 'https://radio.example/a.mp3';
  await assert.rejects(player.append(new Uint8Array(1)), { name: 'InvalidStateError' });
  assert.throws(() => player.endOfStream(), { name: 'InvalidStateError' });
});

test('the decoder works at once in Node and keeps its contract', async () => {
  const { StreamDecoder } = await import('seamcast/decoder');
  const decoder = new StreamDecoder();
  const result = decoder.decode(crypto.getRandomValues(new Uint8Array(5000)));
  assert.ok(Array.isArray(result.channelData) && Array.isArray(result.errors));
  assert.equal(typeof result.samplesDecoded, 'number');
  assert.equal(typeof result.sampleRate, 'number');
  decoder.flush();
  decoder.reset();
  await decoder.ready;
  assert.throws(() => decoder.decode(/** @type {any} */ ([1, 2])), { name: 'TypeError', message: /got Array/ });
  decoder.free();
  decoder.free();
  assert.throws(() => decoder.decode(new Uint8Array(1)), { name: 'InvalidStateError', message: /create another/ });
  assert.throws(() => new StreamDecoder(/** @type {any} */ (3)), { name: 'TypeError', message: /got 3/ });
});
