// @ts-nocheck: TypeScript has no types for a worklet's scope.
/* Hands captured sound to the page: 20 ms at a time, interleaved s16le, with its peak. */
/* global AudioWorkletProcessor, registerProcessor, sampleRate */

class Capture extends AudioWorkletProcessor {
  constructor() {
    super();
    this.channels = 2;
    this.frames = Math.round(sampleRate / 50);
    this.block = new Int16Array(this.frames * this.channels);
    this.filled = 0;
    this.peak = 0;
  }

  /** @param {Float32Array[][]} inputs */
  process([input]) {
    // Without an input for now, time goes on as silence.
    const length = input[0]?.length ?? 128;
    for (let frame = 0; frame < length; frame += 1) {
      for (let channel = 0; channel < this.channels; channel += 1) {
        const plane = input[Math.min(channel, input.length - 1)];
        const sample = Math.max(-1, Math.min(1, plane?.[frame] ?? 0));
        this.peak = Math.max(this.peak, Math.abs(sample));
        this.block[this.filled * this.channels + channel] = Math.round(sample * 32767);
      }
      this.filled += 1;
      if (this.filled === this.frames) {
        const { buffer } = this.block;
        this.port.postMessage({ buffer, peak: this.peak }, [buffer]);
        this.block = new Int16Array(this.frames * this.channels);
        this.filled = 0;
        this.peak = 0;
      }
    }
    return true;
  }
}

registerProcessor('seamcast-capture', Capture);
