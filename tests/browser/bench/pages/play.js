// One page for all players: `bench.play(way, mount)` starts the sound and tells when it was asked for.

const wall = () => performance.timeOrigin + performance.now();

const script = (src) => new Promise((resolve, reject) => {
  document.head.append(Object.assign(document.createElement('script'), { src, onload: resolve, onerror: reject }));
});

/** Each makes `{play(url), stop()}`; `play` begins what a click would. */
const ways = {
  async seamcast(options) {
    const { Player } = await import('/seamcast/player/index.js');
    const player = new Player(options);
    return {
      player,
      play(url) {
        player.src = url.replace(/^http/, 'ws');
        return player.play();
      },
      stop() { player.src = null; },
    };
  },
  async audio() {
    const element = new Audio();
    element.crossOrigin = 'anonymous';
    return {
      play(url) {
        element.src = url;
        return element.play();
      },
      stop() {
        element.removeAttribute('src');
        element.load();
      },
    };
  },
  async peer({ script: src }) {
    await script(src);
    // It makes its AudioContext at the first gesture, and decodes Opus for it.
    document.dispatchEvent(new Event('mousedown'));
    let player;
    return {
      async play(url) {
        player = new globalThis.IcecastMetadataPlayer(url, { metadataTypes: ['ogg'] });
        return player.play();
      },
      async stop() {
        await player?.stop();
        player?.detachAudioElement();
      },
    };
  },
};

const bench = globalThis.bench = {
  wall,
  async make(way, options = {}) {
    bench.way = await ways[way](options);
  },
  play(url) {
    const at = wall();
    bench.failure = null;
    Promise.resolve(bench.way.play(url)).catch((error) => { bench.failure = String(error); });
    return at;
  },
  stop: () => bench.way.stop(),
  stats: () => bench.way.player && { ...bench.way.player.getStats(), latency: bench.way.player.latency },
};

// A cold page plays as soon as it can.
const query = new URLSearchParams(location.search);
if (query.has('way')) {
  await bench.make(query.get('way'), JSON.parse(query.get('options')));
  bench.play(query.get('url'));
}
