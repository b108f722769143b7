// What cases call inside a page, as `bench`.

const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

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
    await context.audioWorklet.addModule('/bench/recorder-worklet.js');
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
    let holes = 0;
    let next = first;
    for (const block of blocks) {
      if (block.first !== next) holes++;
      next = block.first + block.planes[0].length;
      planes.forEach((plane, c) => plane.set(block.planes[c], block.first - first));
    }
    const query = new URLSearchParams({ rate: this.context.sampleRate, first, frames, holes, channels: this.channels });
    await fetch(`/recording/${name}?${query}`, { method: 'POST', body: new Blob(planes) });
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

/** A context that runs. */
async function context(sampleRate) {
  const made = new AudioContext(sampleRate ? { sampleRate } : undefined);
  await Promise.race([made.resume(), sleep(5000)]);
  if (made.state !== 'running') throw new Error(`the context stays ${made.state}; is there an audio device?`);
  return made;
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
