// What reaches the sound card, with the wall clock beside it.

import { spawn } from 'node:child_process';
import { until } from '../lib/process.mjs';

const RATE = 48000;
/** What is kept, seconds. */
const KEPT = 120;
/** How far apart the deliveries may lie that tell the clocks' distance, ms. */
const NEAR = 10_000;

/** Wall clock, ms since the Unix epoch, with fractions: a page's `timeOrigin + now()` is the same. */
export const wall = () => performance.timeOrigin + performance.now();

export class Sink {
  #blocks = [];
  #frames = 0;
  /** `{at, offset}`: the wall clock less the recording's, at each delivery. What is least is nearest the truth. */
  #offsets = [];

  /** Records the null sink of `machine` from now on. */
  async start(machine) {
    await machine.pulse();
    this.parec = spawn('parec', ['-d', 'null.monitor', '--format=float32le', '--rate', RATE, '--channels=2', '--raw', '--latency-msec=5', '--process-time-msec=5'],
      { env: { ...process.env, ...machine.env }, stdio: ['ignore', 'pipe', 'ignore'] });
    let rest = Buffer.alloc(0);
    this.parec.stdout.on('data', (bytes) => {
      const at = wall();
      rest = rest.length ? Buffer.concat([rest, bytes]) : bytes;
      const frames = rest.length >> 3;
      const level = new Float32Array(frames);
      for (let i = 0; i < frames; i++) level[i] = Math.max(Math.abs(rest.readFloatLE(i * 8)), Math.abs(rest.readFloatLE(i * 8 + 4)));
      rest = rest.subarray(frames * 8);
      this.#blocks.push({ from: this.#frames, level });
      this.#frames += frames;
      this.#offsets.push({ at, offset: at - this.#frames * 1000 / RATE });
      while (this.#blocks[0].from < this.#frames - KEPT * RATE) {
        this.#blocks.shift();
        this.#offsets.shift();
      }
    });
    await until(() => this.#frames > RATE, 15_000, 'parec recording');
    return this;
  }

  /** The wall clock less the recording's around `about`; the least is that of the delivery that took least. */
  #offset(about) {
    let offset = Infinity;
    for (const one of this.#offsets) if (Math.abs(one.at - about) < NEAR && one.offset < offset) offset = one.offset;
    return offset;
  }

  /**
   * Wall clock of the first frame louder than `level` that left after `from`, or null. Asked again and again by the process that
   * also serves the pages: one that takes its time here is measured as a page that starts late.
   */
  sound(from, level = 0.01) {
    const offset = this.#offset(from);
    const first = (from - offset) * RATE / 1000;
    const at = this.#blocks.findLastIndex((block) => block.from <= first);
    for (const block of this.#blocks.slice(Math.max(0, at))) {
      const i = block.level.findIndex((x, k) => x >= level && block.from + k >= first);
      if (i >= 0) return (block.from + i) * 1000 / RATE + offset;
    }
    return null;
  }

  /** Whether the last `ms` were silent. */
  quiet(ms, level = 0.001) {
    const from = this.#frames - ms * RATE / 1000;
    const at = this.#blocks.findIndex((block) => block.from + block.level.length > from);
    return this.#frames * 1000 / RATE > ms && this.#blocks.slice(at).every((block) => block.level.every((x) => x < level));
  }

  stop() { this.parec?.kill('SIGTERM'); }
}
