// Judges recorded audio by its content, never by the wall clock.
//
// No single detector is enough: the residual sees clicks in a sine, the
// comparison with a reference sees lost, repeated and shifted frames in any
// signal, silence shows underruns, and the ends show what was cut.

const TAU = 2 * Math.PI;

/** |x[i+1] − 2cos(w)x[i] + x[i−1]|, which is zero wherever a sine goes on undisturbed. */
export function residual(x, hertz, rate) {
  const k = 2 * Math.cos(TAU * hertz / rate);
  const r = new Float64Array(x.length);
  for (let i = 1; i + 1 < x.length; i++) r[i] = Math.abs(x[i + 1] - k * x[i] + x[i - 1]);
  return r;
}

/**
 * Steps in a recorded sine: places where its residual exceeds that of the
 * reference around the same frame by more than `limit`. The codec's own error is
 * in the reference too, so it is no step.
 */
export function steps(recorded, reference, { hertz, rate, offset, limit = 1e-3, around = 32, edge = 64 }) {
  const ours = residual(recorded, hertz, rate);
  const theirs = residual(reference, hertz, rate);
  const found = [];
  const from = edge;
  const to = Math.min(reference.length, recorded.length - offset) - edge;
  for (let i = from; i < to; i++) {
    const excess = ours[offset + i];
    if (!(excess > limit)) continue;
    let allowed = 0;
    for (let j = Math.max(0, i - around); j <= Math.min(theirs.length - 1, i + around); j++) allowed = Math.max(allowed, theirs[j]);
    if (excess - allowed <= limit) continue;
    const last = found.at(-1);
    if (last && i - last.frame < 128) last.size = Math.max(last.size, excess - allowed);
    else found.push({ frame: i, size: excess - allowed });
  }
  return found;
}

/** In-place radix-2 FFT. */
function fft(re, im) {
  const n = re.length;
  for (let i = 1, j = 0; i < n; i++) {
    let bit = n >> 1;
    for (; j & bit; bit >>= 1) j ^= bit;
    j ^= bit;
    if (i < j) {
      [re[i], re[j]] = [re[j], re[i]];
      [im[i], im[j]] = [im[j], im[i]];
    }
  }
  for (let size = 2; size <= n; size <<= 1) {
    const half = size >> 1;
    for (let k = 0; k < half; k++) {
      const c = Math.cos(TAU * k / size);
      const s = -Math.sin(TAU * k / size);
      for (let i = k; i < n; i += size) {
        const j = i + half;
        const xr = re[j] * c - im[j] * s;
        const xi = re[j] * s + im[j] * c;
        re[j] = re[i] - xr;
        im[j] = im[i] - xi;
        re[i] += xr;
        im[i] += xi;
      }
    }
  }
}

/** Where `needle` fits best in `hay`: `{at, correlation}`, the latter 1 for a scaled copy. */
export function find(needle, hay) {
  let n = 1;
  while (n < hay.length + needle.length) n <<= 1;
  const ar = new Float64Array(n), ai = new Float64Array(n), br = new Float64Array(n), bi = new Float64Array(n);
  ar.set(hay);
  br.set(needle);
  fft(ar, ai);
  fft(br, bi);
  for (let i = 0; i < n; i++) {
    // The conjugate of the product, so that a forward transform inverts it.
    const r = ar[i] * br[i] + ai[i] * bi[i];
    ai[i] = -(ai[i] * br[i] - ar[i] * bi[i]);
    ar[i] = r;
  }
  fft(ar, ai);
  const energy = new Float64Array(hay.length + 1);
  for (let i = 0; i < hay.length; i++) energy[i + 1] = energy[i] + hay[i] * hay[i];
  let own = 0;
  for (const value of needle) own += value * value;
  let best = { at: 0, correlation: -Infinity };
  for (let at = 0; at + needle.length <= hay.length; at++) {
    const there = energy[at + needle.length] - energy[at];
    const correlation = there > own * 1e-3 ? ar[at] / n / Math.sqrt(there * own) : 0;
    if (correlation > best.correlation) best = { at, correlation };
  }
  return best;
}

/** As `find`, but only within `range` frames of `guess`. */
function near(needle, hay, guess, range) {
  let best = { at: 0, correlation: -Infinity };
  for (let at = Math.max(0, guess - range); at <= guess + range && at + needle.length <= hay.length; at++) {
    let product = 0, there = 0, own = 0;
    for (let i = 0; i < needle.length; i++) {
      product += needle[i] * hay[at + i];
      there += hay[at + i] * hay[at + i];
      own += needle[i] * needle[i];
    }
    const correlation = product / Math.sqrt(there * own || 1);
    if (correlation > best.correlation) best = { at, correlation };
  }
  return best;
}

/** `x` delayed by `d` frames, |d| < 1, by a long windowed sinc. */
export function delayed(x, d) {
  const HALF = 48;
  const taps = new Float64Array(2 * HALF + 1);
  let sum = 0;
  for (let k = -HALF; k <= HALF; k++) {
    const t = k - d;
    const window = 0.42 + 0.5 * Math.cos(Math.PI * t / (HALF + 1)) + 0.08 * Math.cos(TAU * t / (HALF + 1));
    taps[k + HALF] = (Math.abs(t) < 1e-12 ? 1 : Math.sin(Math.PI * t) / (Math.PI * t)) * window;
    sum += taps[k + HALF];
  }
  const out = new Float32Array(x.length);
  for (let i = 0; i < x.length; i++) {
    let value = 0;
    for (let k = Math.max(-HALF, i - x.length + 1); k <= Math.min(HALF, i); k++) value += x[i - k] * taps[k + HALF];
    out[i] = value / sum;
  }
  return out;
}

/** How many frames, |d| < 1, `recorded` at `offset` lags `reference`, by least squares. */
export function fractionalDelay(reference, recorded, offset, from, length) {
  let d = 0;
  const margin = 64;
  const window = reference.subarray(from - margin, from + length + margin);
  for (let round = 0; round < 5; round++) {
    const shifted = Math.abs(d) < 1e-9 ? window : delayed(window, d);
    let num = 0, den = 0;
    for (let i = margin; i < margin + length; i++) {
      const slope = (shifted[i + 1] - shifted[i - 1]) / 2;
      num += slope * (shifted[i] - recorded[offset + from - margin + i]);
      den += slope * slope;
    }
    d = Math.max(-1, Math.min(1, d + (den > 0 ? num / den : 0)));
  }
  return d;
}

/** Runs of silence of at least `least` frames within `from..to`. */
export function silences(x, { from = 0, to = x.length, least = 16, level = 1e-5 } = {}) {
  const found = [];
  let start = -1;
  for (let i = from; i <= to; i++) {
    if (i < to && Math.abs(x[i]) < level) {
      if (start < 0) start = i;
    } else if (start >= 0) {
      if (i - start >= least) found.push({ frame: start, frames: i - start });
      start = -1;
    }
  }
  return found;
}

/** Frames `from..to` of a recording, its holes with them. */
export const cut = (recorded, from, to = recorded.channels[0].length) => ({
  ...recorded,
  channels: recorded.channels.map((plane) => plane.slice(from, to)),
  holes: (recorded.holes ?? []).map(([at, frames]) => [at - from, frames]),
});

/** First and last frame that is louder than `level`. */
export function extent(x, level = 0.02) {
  let first = 0;
  while (first < x.length && Math.abs(x[first]) <= level) first++;
  let last = x.length - 1;
  while (last >= 0 && Math.abs(x[last]) <= level) last--;
  return { first, last };
}

/**
 * Lays a recording beside the reference (each `{rate, channels}`, of equal rate).
 *
 * `whole`: the recording must hold the reference from its first to its last frame.
 * Otherwise it may begin and end anywhere inside (a late join), and everything
 * between its own first and last sound is compared.
 *
 * Returns what was found; `failures` is empty when it is seamless.
 */
export function compare(reference, recorded, {
  hertz, whole = true, limit = 1e-3, exact = false, sineChannel = 0, matchChannel = reference.channels.length - 1, tolerance = 1,
} = {}) {
  const failures = [];
  const { rate } = recorded;
  if (reference.rate !== rate) throw new Error(`reference at ${reference.rate} Hz, recording at ${rate} Hz`);
  for (const plane of recorded.channels) {
    if (plane.some(Number.isNaN)) return { failures: ['NaN in the recording'] };
  }
  const ref = reference.channels[matchChannel];
  const rec = recorded.channels[matchChannel];
  const sounding = extent(rec);
  if (sounding.last < sounding.first) return { failures: [`nothing was heard in ${rec.length} frames`] };

  // Where the two belong together. Of several pieces the best fit, since a defect
  // in one piece must be found below, not hide where everything else belongs.
  const length = Math.min(8192, ref.length >> 2, (sounding.last - sounding.first) >> 2);
  const parts = [0.2, 0.5, 0.8].map((part) => sounding.first + Math.floor((sounding.last - sounding.first - length) * part));
  let fit = { correlation: -Infinity };
  let from = 0;
  // First as the beginnings suggest: a sine fits at every period.
  if (whole) {
    [from] = parts;
    fit = near(rec.subarray(from, from + length), ref, from - (sounding.first - extent(ref).first), 40);
  }
  if (!(fit.correlation > 0.98)) {
    for (const start of parts) {
      const found = find(rec.subarray(start, start + length), ref);
      // The earliest that fits, so that a shift later on counts as later on.
      if (found.correlation > fit.correlation + 0.005) {
        fit = found;
        from = start;
      }
    }
  }
  if (fit.correlation < 0.9) return { failures: [`the recording is not the reference: correlation ${fit.correlation.toFixed(3)}`], fit };
  // ref[i] is heard at rec[offset + i].
  const offset = from - fit.at;
  const begin = Math.max(0, -offset, whole ? 0 : sounding.first - offset);
  const end = Math.min(ref.length, rec.length - offset, whole ? ref.length : sounding.last + 1 - offset);

  const delay = exact ? 0 : fractionalDelay(ref, rec, offset, Math.max(fit.at, 64), Math.min(length, ref.length - fit.at - 64));
  const aligned = exact || Math.abs(delay) < 1e-4 ? reference.channels : reference.channels.map((plane) => delayed(plane, delay));

  // The ends of a resampled signal ring; the two resamplers differ there.
  const edge = exact ? 0 : 96;
  // Nobody can tell what the player had for quanta that the machine never rendered.
  const unheard = new Uint8Array(rec.length);
  for (const [at, frames] of recorded.holes ?? []) unheard.fill(1, Math.max(0, at - edge), at + frames + edge);
  let worst = 0, worstFrame = 0, signal = 0, noise = 0, last = -1;
  const bad = [];
  aligned.forEach((plane, c) => {
    const other = recorded.channels[c];
    for (let i = begin + edge; i < end - edge; i++) {
      if (unheard[offset + i]) continue;
      const error = Math.abs(other[offset + i] - plane[i]);
      signal += plane[i] * plane[i];
      noise += error * error;
      if (error > worst) { worst = error; worstFrame = i; }
      if (error > limit) {
        if (bad.length === 0 || i - bad.at(-1) > 1024) bad.push(i);
        last = i;
      }
    }
  });
  const snr = noise === 0 ? Infinity : 10 * Math.log10(signal / noise);
  if (bad.length > 0) {
    // Where the match ends for good, tell what was lost or repeated there.
    const at = Math.min(bad[0] + 2048, end - 2048);
    let what = '';
    if (at > begin && at + 2048 < end) {
      const later = find(ref.subarray(at, at + 2048), rec);
      if (later.correlation > 0.9) what = `; after it everything is ${later.at - at - offset} frames late`;
    }
    failures.push(`${bad.length} places differ from the reference by up to ${worst.toFixed(5)}, first at ${(bad[0] / rate).toFixed(4)} s, frame ${bad[0]}, last at frame ${last}${what}`);
  }
  const clicks = hertz ? steps(recorded.channels[sineChannel], aligned[sineChannel], { hertz, rate, offset, edge: Math.max(edge, 2) }).filter(({ frame }) => !unheard[offset + frame]) : [];
  if (clicks.length > 0) failures.push(`${clicks.length} steps, first of ${clicks[0].size.toFixed(5)} at frame ${clicks[0].frame}`);

  const quiet = silences(rec, { from: Math.max(sounding.first, offset + begin), to: Math.min(sounding.last, offset + end) })
    .filter(({ frame }) => !unheard[frame])
    .filter(({ frame, frames }) => silences(ref, { from: Math.max(0, frame - offset), to: frame - offset + frames, least: frames }).length === 0);
  if (quiet.length > 0) failures.push(`${quiet.length} silences, first of ${quiet[0].frames} frames at frame ${quiet[0].frame - offset}`);

  const expected = extent(ref);
  const lengthDifference = (sounding.last - sounding.first) - (expected.last - expected.first);
  if (whole && Math.abs(lengthDifference) > tolerance) {
    failures.push(`${lengthDifference} frames longer than the reference (begins ${sounding.first - offset - expected.first}, ends ${sounding.last - offset - expected.last})`);
  }
  const lost = (recorded.holes ?? []).reduce((sum, [, frames]) => sum + frames, 0);
  if (failures.length > 0 && lost > 0) {
    failures.push(`(${lost} frames were never rendered: ${recorded.holes.map(([at, frames]) => `${frames} at ${at - offset}`).join(', ')})`);
  }
  return { failures, offset, delay, snr, lost, worst, worstFrame, clicks, quiet, lengthDifference, frames: end - begin };
}

/** Length of the silence in a recording between its first and last sound, in ms. */
export function silentMs(recorded, channel = 0) {
  const x = recorded.channels[channel];
  const { first, last } = extent(x);
  const rendered = ({ frame, frames }) => !(recorded.holes ?? []).some(([at, length]) => frame >= at - 1 && frame + frames <= at + length + 1);
  return silences(x, { from: first, to: last }).filter(rendered).reduce((sum, { frames }) => sum + frames, 0) * 1000 / recorded.rate;
}
