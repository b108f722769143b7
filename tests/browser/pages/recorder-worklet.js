// Records its input in context frames. It reports every quantum's own frame
// number, so that a quantum that was never rendered shows as a hole.

const BLOCK = 128 * 96;

class Recorder extends AudioWorkletProcessor {
  constructor({ processorOptions: { channels } }) {
    super();
    this.channels = channels;
    this.quanta = 0;
    this.begin();
    this.port.onmessage = () => {
      this.flush();
      this.stopped = true;
      this.port.postMessage('stopped');
    };
  }

  begin() {
    this.first = -1;
    this.used = 0;
    this.planes = Array.from({ length: this.channels }, () => new Float32Array(BLOCK));
  }

  flush() {
    if (this.used > 0) {
      const planes = this.planes.map((plane) => plane.slice(0, this.used));
      this.port.postMessage({ first: this.first, planes }, planes.map((plane) => plane.buffer));
    }
    this.begin();
  }

  process([input], [output]) {
    if (this.stopped) return false;
    // The first quantum's frame number is stale in Chromium.
    if (this.quanta++ === 0) return true;
    const length = output[0].length;
    if (this.first >= 0 && currentFrame !== this.first + this.used) this.flush();
    if (this.first < 0) this.first = currentFrame;
    for (let c = 0; c < this.channels; c++) {
      if (input[c]) this.planes[c].set(input[c], this.used);
      else this.planes[c].fill(0, this.used, this.used + length);
    }
    this.used += length;
    if (this.used + length > BLOCK) this.flush();
    return true;
  }
}

registerProcessor('bench-recorder', Recorder);
