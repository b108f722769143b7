// @ts-check
/**
 * The stage's picture: a seam that closes when music plays. Left channel
 * above it, right below, as four layers that follow the spectrum ever more slowly.
 */
const BANDS = 22;
const LAGS = [0.34, 0.17, 0.085, 0.045];
const LOW_HZ = 70;
const HIGH_HZ = 11_000;

/** Frequency bins of each band, on a logarithmic scale like hearing's.
 * @param {AnalyserNode} analyser */
function bandEdges(analyser) {
  const binHz = analyser.context.sampleRate / analyser.fftSize;
  return Array.from({ length: BANDS + 1 }, (_, i) => (LOW_HZ * (HIGH_HZ / LOW_HZ) ** (i / BANDS)) / binHz);
}

export class Visual {
  /** @param {HTMLCanvasElement} canvas */
  constructor(canvas) {
    this.canvas = canvas;
    this.pen = /** @type {CanvasRenderingContext2D} */ (canvas.getContext('2d'));
    this.still = matchMedia('(prefers-reduced-motion: reduce)');
    this.dark = matchMedia('(prefers-color-scheme: dark)');
    /** @type {AnalyserNode[]} */
    this.analysers = [];
    /** @type {number[]} */
    this.edges = [];
    this.bins = new Uint8Array(0);
    /** Height of each band, per side and layer, 0 to 1. */
    this.sides = [0, 1].map(() => LAGS.map(() => new Float32Array(BANDS)));
    /** How far the seam is closed, 0 to 1. */
    this.closed = 0;
    this.playing = false;
    this.frame = 0;
    new ResizeObserver(() => this.wake()).observe(canvas);
    this.still.addEventListener('change', () => this.wake());
    this.dark.addEventListener('change', () => this.wake());
  }

  /** @param {AudioNode} node */
  listen(node) {
    if (this.analysers.length) return;
    const { context } = node;
    // Mono is spread over both sides; without this the lower half would stay flat.
    const both = new GainNode(context, { channelCount: 2, channelCountMode: 'explicit' });
    const split = new ChannelSplitterNode(context, { numberOfOutputs: 2 });
    node.connect(both).connect(split);
    this.analysers = [0, 1].map((side) => {
      const analyser = new AnalyserNode(context, { fftSize: 2048, smoothingTimeConstant: 0.72, minDecibels: -82, maxDecibels: -18 });
      split.connect(analyser, side);
      return analyser;
    });
    this.edges = bandEdges(this.analysers[0]);
    this.bins = new Uint8Array(this.analysers[0].frequencyBinCount);
  }

  /** @param {boolean} playing */
  set(playing) {
    this.playing = playing;
    this.wake();
  }

  wake() {
    this.frame ||= requestAnimationFrame(() => this.draw());
  }

  /** Moves every layer towards the sound; true while anything still moves. */
  step() {
    let moving = this.playing;
    this.analysers.forEach((analyser, side) => {
      if (this.playing) analyser.getByteFrequencyData(this.bins);
      for (let band = 0; band < BANDS; band += 1) {
        let peak = 0;
        if (this.playing) {
          const to = Math.max(this.edges[band] + 1, this.edges[band + 1]);
          for (let bin = Math.floor(this.edges[band]); bin < to; bin += 1) peak = Math.max(peak, this.bins[bin]);
        }
        LAGS.forEach((lag, layer) => {
          const heights = this.sides[side][layer];
          heights[band] += ((peak / 255) ** 1.5 - heights[band]) * lag;
          if (heights[band] > 0.002) moving = true;
        });
      }
    });
    const goal = this.playing ? 1 : 0;
    this.closed += (goal - this.closed) * 0.06;
    if (Math.abs(goal - this.closed) > 0.005) moving = true;
    else this.closed = goal;
    return moving;
  }

  draw() {
    this.frame = 0;
    const { canvas, pen } = this;
    const scale = Math.min(devicePixelRatio || 1, 2);
    const width = canvas.clientWidth;
    const height = canvas.clientHeight;
    if (!width || !height) return;
    if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale)) {
      canvas.width = Math.round(width * scale);
      canvas.height = Math.round(height * scale);
    }
    pen.setTransform(scale, 0, 0, scale, 0, 0);
    pen.clearRect(0, 0, width, height);

    // Reduced motion: the seam alone, open or closed, without a moving picture.
    const moving = this.still.matches ? false : this.step();
    const closed = this.still.matches ? Number(this.playing) : this.closed;

    const style = getComputedStyle(document.documentElement);
    const [cool, warm] = ['--thread-2', '--thread'].map((name) => style.getPropertyValue(name).trim());
    const middle = Math.round(height / 2) + 0.5;
    const across = pen.createLinearGradient(0, 0, width, 0);
    across.addColorStop(0.04, cool);
    across.addColorStop(0.96, warm);
    if (!this.still.matches) {
      this.sides.forEach((layers, side) => {
        for (let layer = LAGS.length - 1; layer >= 0; layer -= 1) {
          if (layers[layer].every((height) => height < 0.004)) continue;
          this.ribbon(layers[layer], width, middle, (side ? 1 : -1) * height * (0.4 + 0.03 * layer));
          pen.fillStyle = across;
          pen.globalAlpha = this.dark.matches ? 0.13 : 0.1;
          pen.fill();
          pen.strokeStyle = across;
          pen.lineWidth = layer ? 0.75 : 1.5;
          pen.globalAlpha = layer ? 0.22 : 0.85;
          pen.stroke();
        }
      });
    }
    // The seam: stitches while silent, one line while playing.
    pen.globalAlpha = 0.5 + 0.4 * closed;
    pen.strokeStyle = across;
    pen.lineWidth = 2;
    pen.setLineDash(closed > 0.995 ? [] : [14 + 6 * closed, 11 * (1 - closed)]);
    pen.beginPath();
    pen.moveTo(0, middle);
    pen.lineTo(width, middle);
    pen.stroke();
    pen.setLineDash([]);
    pen.globalAlpha = 1;
    if (moving) this.wake();
  }

  /**
   * A smooth outline: low notes in the middle, high ones towards both ends.
   * @param {Float32Array} heights @param {number} width @param {number} middle @param {number} reach
   */
  ribbon(heights, width, middle, reach) {
    const { pen } = this;
    const points = 2 * BANDS + 1;
    /** @param {number} i */
    const x = (i) => (width * i) / (points - 1);
    /** @param {number} i */
    const y = (i) => {
      const away = Math.abs(i - BANDS);
      if (away >= BANDS) return middle;
      // Neighbours are blended and the ends taper, so that no band sticks out as a spike.
      const h = 0.25 * heights[Math.max(0, away - 1)] + 0.5 * heights[away] + 0.25 * heights[Math.min(BANDS - 1, away + 1)];
      return middle + reach * h * Math.cos((away / BANDS) * (Math.PI / 2)) ** 0.6;
    };
    pen.beginPath();
    pen.moveTo(0, middle);
    for (let i = 0; i < points - 1; i += 1) {
      const midX = (x(i) + x(i + 1)) / 2;
      const midY = (y(i) + y(i + 1)) / 2;
      pen.quadraticCurveTo(x(i), y(i), midX, midY);
    }
    pen.lineTo(width, middle);
  }
}
