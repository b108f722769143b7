// What cases call inside a page, as `bench`.

const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

/** Frames a context renders at a time. */
const QUANTUM = 128;

class Recorder {
  #blocks = [];

  /** Taps `node`. Nothing of it is changed or delayed; the recorder itself is silent. */
  static async tap(node, channels = 2) {
    const recorder = new Recorder();
    recorder.context = node.context;
    recorder.channels = channels;
    if (node.context.audioWorklet) await recorder.#worklet(node);
    else recorder.#scriptProcessor(node);
    return recorder;
  }

  async #worklet(node) {
    const { context } = node;
    await prepare(context);
    this.node = new AudioWorkletNode(context, 'bench-recorder', {
      numberOfInputs: 1, numberOfOutputs: 1, outputChannelCount: [1],
      channelCount: this.channels, channelCountMode: 'explicit', channelInterpretation: 'discrete',
      processorOptions: { channels: this.channels },
    });
    this.node.port.onmessage = ({ data }) => {
      if (data === 'stopped') this.stopped?.();
      else this.#blocks.push(data);
    };
    node.connect(this.node);
    // Only nodes that lead to the destination are rendered everywhere.
    this.node.connect(context.destination);
    if (context.state === 'running') await steady(context);
  }

  // Where there is no worklet (a page that is not a secure context).
  #scriptProcessor(node) {
    const { context } = node;
    this.node = context.createScriptProcessor(4096, this.channels, 1);
    let frame = 0;
    this.node.onaudioprocess = ({ inputBuffer }) => {
      const planes = Array.from({ length: this.channels }, (_, c) => inputBuffer.getChannelData(c).slice());
      this.#blocks.push({ first: frame, planes });
      frame += inputBuffer.length;
    };
    node.connect(this.node);
    this.node.connect(context.destination);
  }

  /** Stops and sends everything to the suite as `name`. */
  async stop(name) {
    if (this.node.port) {
      const stopped = new Promise((done) => { this.stopped = done; });
      this.node.port.postMessage('stop');
      await Promise.race([stopped, sleep(3000).then(() => { throw new Error('the recorder did not stop'); })]);
    }
    this.node.disconnect();
    const blocks = this.#blocks.sort((a, b) => a.first - b.first);
    const first = blocks[0]?.first ?? 0;
    const last = blocks.at(-1);
    const frames = last ? last.first + last.planes[0].length - first : 0;
    const planes = Array.from({ length: this.channels }, () => new Float32Array(frames));
    // Where the context rendered nothing at all: a late audio thread loses whole quanta. What Chromium
    // records last before such a hole may be what belongs behind it, under a stale frame number.
    const holes = [];
    let next = first;
    for (const block of blocks) {
      if (block.first > next) {
        const at = Math.max(first, next - QUANTUM);
        holes.push([at - first, block.first - at]);
        planes.forEach((plane) => plane.fill(0, at - first, next - first));
      }
      next = block.first + block.planes[0].length;
      planes.forEach((plane, c) => plane.set(block.planes[c], block.first - first));
    }
    const query = new URLSearchParams({ rate: this.context.sampleRate, first, frames, holes: JSON.stringify(holes), channels: this.channels });
    // Not a Blob: Firefox hands those through its main process.
    const body = new Float32Array(frames * this.channels);
    planes.forEach((plane, c) => body.set(plane, c * frames));
    await fetch(`/recording/${name}?${query}`, { method: 'POST', body });
    return { frames, holes };
  }
}

/** Drift of the audio clock against the wall clock, and Chromium's own underrun count. */
class ClockWatch {
  #start;

  constructor(context) {
    this.context = context;
    this.#start = this.#now();
  }

  #now() {
    const stats = this.context.playbackStats;
    return {
      wall: performance.now(), audio: this.context.currentTime * 1000,
      underruns: stats?.underrunEvents ?? stats?.fallbackFramesEvents ?? 0, lost: (stats?.underrunDuration ?? stats?.fallbackFramesDuration ?? 0) * 1000,
    };
  }

  read() {
    const now = this.#now();
    return {
      driftMs: now.audio - this.#start.audio - (now.wall - this.#start.wall),
      underruns: now.underruns - this.#start.underruns, lostMs: now.lost - this.#start.lost,
      statsKnown: this.context.playbackStats !== undefined,
    };
  }
}

/** Keeps the main thread busy without a break. */
function block(ms) {
  const end = performance.now() + ms;
  while (performance.now() < end);
}

/**
 * Waits until the audio clock keeps pace with the wall clock. When a device is
 * opened the clock leaps while its buffer fills, then waits for that to drain, in
 * WebKit for most of a second; a first worklet makes WebKit open it anew.
 */
async function steady(context) {
  const patience = performance.now() + 15_000;
  for (let count = 0; count < 5;) {
    const before = context.currentTime;
    const at = performance.now();
    await sleep(60);
    const pace = (context.currentTime - before) * 1000 / (performance.now() - at);
    count = pace > 0.6 && pace < 1.4 ? count + 1 : 0;
    if (performance.now() > patience) throw new Error('the audio clock does not run steadily');
  }
}

/** What a promise gives, or an error about `what` after `ms`. */
async function within(promise, ms, what) {
  let timer;
  const late = new Promise((_, fail) => { timer = setTimeout(() => fail(new Error(`${what} within ${ms} ms`)), ms); });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Loads the recorder into a context's audio thread, which Firefox at times never does. */
const prepare = (made) => within(made.audioWorklet?.addModule('/bench/recorder-worklet.js'), 5000, 'the recorder was not loaded');

/** A context that runs. */
async function context(sampleRate) {
  for (let attempt = 1; ; attempt++) {
    const made = new AudioContext(sampleRate ? { sampleRate } : undefined);
    await Promise.race([made.resume(), sleep(5000)]);
    try {
      if (made.state !== 'running') throw new Error(`the context stays ${made.state}; is there an audio device?`);
      // Elsewhere a context is younger when it is played in, and WebKit's clock leaps when this is done twice.
      if (navigator.userAgent.includes('Firefox')) await prepare(made);
      return made;
    } catch (error) {
      if (attempt === 3) throw error;
      void made.close().catch(() => {});
    }
  }
}

/** Resolves when `target` fires one of `names`, with the name. */
function event(target, names, ms) {
  return new Promise((done, fail) => {
    const timer = setTimeout(() => fail(new Error(`no ${names} within ${ms} ms`)), ms);
    for (const name of [names].flat()) {
      target.addEventListener(name, () => { clearTimeout(timer); done(name); }, { once: true });
    }
  });
}

globalThis.bench = { Recorder, ClockWatch, block, context, event, sleep };

/** Seeded, so that a cutting can be repeated: SplitMix32. */
function seeded(seed) {
  return () => {
    seed = (seed + 0x9e3779b9) | 0;
    let z = Math.imul(seed ^ (seed >>> 16), 0x21f0aaad);
    z = Math.imul(z ^ (z >>> 15), 0x735a2d97);
    return ((z ^ (z >>> 15)) >>> 0) / 2 ** 32;
  };
}

/** Cuts bytes into pieces of 1 to `largest`, small and large ones alike. */
function* pieces(bytes, seed, largest = 16384) {
  const random = seeded(seed);
  for (let at = 0; at < bytes.length;) {
    const length = Math.max(1, Math.round(largest ** random()));
    yield bytes.subarray(at, at + length);
    at += length;
  }
}

const EVENTS = [
  'loadedmetadata', 'durationchange', 'canplay', 'play', 'playing', 'pause', 'waiting', 'stalled', 'seeking', 'seeked', 'ended',
  'error', 'emptied', 'underrun', 'targetlatencychange', 'metadata', 'reconnecting', 'reconnected', 'interrupted', 'unlockrequired',
  'codecchange', 'skip', 'decodeerror', 'sourceoffline', 'sourceonline',
];

/** A player under observation: every event noted, the output recorded. */
class Listening {
  log = [];

  static async start({ module = '/seamcast/player/index.js', rate, context: own = true, options = {}, channels = 2 }) {
    const listening = new Listening();
    const { Player } = await import(module);
    const output = new URLSearchParams(location.search).get('output');
    if (output) options = { output, ...options };
    listening.context = own ? await context(rate) : undefined;
    listening.player = new Player(own ? { ...options, context: listening.context } : options);
    listening.context ??= listening.player.context;
    for (const type of EVENTS) {
      listening.player.addEventListener(type, (event) => {
        const { error } = event;
        listening.log.push({ type, ms: performance.now(), frame: Math.round(listening.context.currentTime * listening.context.sampleRate),
          time: listening.player.currentTime, ...event.detail, ...(error && { error: `${error.reason}: ${error.message}` }),
          ...(event.detail?.cause && { cause: String(event.detail.cause) }) });
      });
    }
    listening.recorder = await Recorder.tap(listening.player.node, channels);
    listening.watch = new ClockWatch(listening.context);
    listening.ratios = [1, 1];
    listening.sampler = setInterval(() => {
      const { resampleRatio } = listening.player.getStats();
      listening.ratios = [Math.min(listening.ratios[0], resampleRatio), Math.max(listening.ratios[1], resampleRatio)];
    }, 40);
    return listening;
  }

  count(type) { return this.log.filter((entry) => entry.type === type).length; }

  /** Waits until `type` has fired `times` times in all; an `error` ends the wait. */
  async wait(type, ms = 30_000, times = 1) {
    const end = performance.now() + ms;
    while (this.count(type) < times) {
      const failed = type !== 'error' && this.log.find((entry) => entry.type === 'error');
      if (failed) throw new Error(`the player failed: ${failed.error}; events ${this.story()}`);
      if (performance.now() > end) throw new Error(`no ${type} within ${ms} ms; events ${this.story()}; ${JSON.stringify(this.player.getStats())}`);
      await sleep(10);
    }
    return this.log.filter((entry) => entry.type === type)[times - 1];
  }

  /** `play()`, which must not stay pending. */
  play(ms = 25_000) {
    const late = sleep(ms).then(() => { throw new Error(`play() is pending after ${ms} ms; events ${this.story()}; ${JSON.stringify(this.player.getStats())}`); });
    return Promise.race([this.player.play(), late]);
  }

  story() { return this.log.map(({ type, ms }) => `${type}@${Math.round(ms)}`).join(' '); }

  /** Ends it and sends the recording as `name`. */
  async finish(name, tail = 0.15) {
    const end = this.context.currentTime + tail;
    const patience = performance.now() + 5000;
    while (this.context.currentTime < end && performance.now() < patience) await sleep(10);
    clearInterval(this.sampler);
    const result = {
      log: this.log, ratios: this.ratios, stats: this.player.getStats(), clock: this.watch.read(), currentTime: this.player.currentTime,
      duration: String(this.player.duration), ended: this.player.ended, bytes: this.player.getStats().bytesReceived,
    };
    await this.recorder.stop(name);
    await this.player.close();
    await this.context.close().catch(() => {});
    return result;
  }
}

/** Appends `bytes` cut at random, waiting for each as a host should. */
async function appendAll(player, bytes, seed, largest) {
  let breathed = performance.now();
  for (const piece of pieces(bytes, seed, largest)) {
    await player.append(piece);
    // Promises alone never let the page breathe.
    if (performance.now() - breathed > 10) {
      await sleep(0);
      breathed = performance.now();
    }
  }
  player.endOfStream();
}

const load = async (url) => new Uint8Array(await (await fetch(url)).arrayBuffer());

async function sha256(...arrays) {
  const bytes = new Uint8Array(await new Blob(arrays).arrayBuffer());
  return [...new Uint8Array(await crypto.subtle.digest('SHA-256', bytes))].map((b) => b.toString(16).padStart(2, '0')).join('');
}

Object.assign(bench, { Listening, appendAll, pieces, load, sha256, listening: {} });

// Drivers evaluate functions where a dynamic import may have no base.
bench.import = (module) => import(module);
