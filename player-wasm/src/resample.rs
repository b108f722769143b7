//! A stateful band-limited resampler for any pair of rates.
//!
//! Windowed-sinc interpolation (Kaiser window, stopband and passband error
//! beyond 120 dB) from a table of filter phases. The table holds every phase
//! the nominal ratio needs, so common rates take one multiply-add per tap; a
//! ratio adjusted for clock drift interpolates between phases by cubics.
//!
//! Output frame `k` is the signal at input position `k × in / out`: there is no
//! latency to compensate, only a look-ahead of half the filter, and after
//! [`Resampler::finish`] exactly `round(input × out / in)` frames have come out.

use std::f64::consts::PI;

/// Taps per phase at or above the input rate; more when the rate is lowered.
const TAPS: usize = 128;
/// Fewest phases for which cubic interpolation is exact to 24 bits.
const MIN_PHASES: u64 = 128;
/// Most phases kept in the table; above, every frame interpolates.
const MAX_PHASES: u64 = 1024;
/// Kaiser's β for 125 dB.
const BETA: f64 = 12.8;
/// −6 dB point against the lower Nyquist frequency. The transition band is
/// centred here, so 20 kHz passes at 44.1 kHz.
const CUTOFF: f64 = 0.97;
/// Sub-phase bits of a position.
const SUB: u32 = 32;
/// On the way back to whole frames a step is off by one part in 2 to this: 0.2 cent, and 85 ms at most.
const HOMING: u32 = 13;

/// The resampler; see the module's documentation.
#[derive(Clone, Debug)]
pub struct Resampler {
    /// Rows of `taps` coefficients for phases −1 … `phases` + 1.
    table: Vec<f32>,
    taps: usize,
    phases: u64,
    /// Input positions are counted in units of 1 / (`phases` << SUB).
    step: u64,
    nominal_step: u64,
    /// Position of the next output frame, relative to the start of `buffer`
    /// plus half a filter.
    position: u64,
    /// Per channel: input not yet passed by the whole filter.
    buffer: Vec<Vec<f32>>,
    row: Vec<f32>,
    /// Equal rates and not adjusted: frames are passed through untouched.
    bypass: bool,
}

impl Resampler {
    /// From `input` to `output` Hz (each at least 1).
    pub fn new(input: u32, output: u32, channels: usize) -> Self {
        let (input, output) = (u64::from(input.max(1)), u64::from(output.max(1)));
        let common = gcd(input, output);
        let (up, down) = (output / common, input / common);
        let phases = if up > MAX_PHASES {
            MAX_PHASES
        } else {
            up * MIN_PHASES.div_ceil(up)
        };
        let unit = u128::from(phases << SUB);
        let step = (unit * u128::from(down) / u128::from(up)) as u64;
        let scale = (up as f64 / down as f64).min(1.0);
        let taps = ((TAPS as f64 / scale / 16.0).ceil() as usize * 16).min(4096);
        let mut this = Self {
            table: Vec::new(),
            taps,
            phases,
            step,
            nominal_step: step,
            position: 0,
            buffer: vec![Vec::new(); channels],
            row: vec![0.0; taps],
            bypass: up == down,
        };
        if !this.bypass {
            this.prepare(scale);
        }
        this.reset();
        this
    }

    /// Consumes `factor` times as much input per output frame as the nominal
    /// ratio does (0.9 … 1.1; 1 is nominal). Back at 1 between equal rates, the
    /// position glides to the nearest whole frame, and from there on frames are
    /// passed through untouched again: below 22 kHz the filter puts out the same.
    pub fn set_factor(&mut self, factor: f64) {
        let factor = if factor.is_finite() {
            factor.clamp(0.9, 1.1)
        } else {
            1.0
        };
        self.step = (self.nominal_step as f64 * factor).round() as u64;
        if (factor - 1.0).abs() < 1e-12 {
            self.step = self.nominal_step;
        } else if self.bypass {
            self.leave_bypass();
        }
    }

    /// Channels it was made for.
    pub fn channels(&self) -> usize {
        self.buffer.len()
    }

    /// Input frames held back for the look-ahead, rounded down.
    pub fn held(&self) -> usize {
        if self.bypass {
            return 0;
        }
        let unit = self.phases << SUB;
        let half = self.taps / 2;
        self.buffer.first().map_or(0, |b| {
            b.len()
                .saturating_sub(half - 1 + (self.position / unit) as usize)
        })
    }

    /// Forgets the input, as if new; the ratio stays.
    pub fn reset(&mut self) {
        self.position = 0;
        self.bypass = self.passes();
        let history = self.taps / 2 - 1;
        for channel in &mut self.buffer {
            channel.clear();
            channel.resize(history, 0.0);
        }
    }

    /// Takes one slice per channel, all of one length, and appends what can be
    /// computed to `out`, one vector per channel.
    pub fn process<'a>(&mut self, input: impl Iterator<Item = &'a [f32]>, out: &mut [Vec<f32>]) {
        if self.bypass {
            let keep = self.taps / 2 - 1;
            for ((plane, out), history) in input.zip(out).zip(&mut self.buffer) {
                out.extend_from_slice(plane);
                // What a filter would look back on, should one be needed.
                let new = &plane[plane.len().saturating_sub(keep)..];
                history.drain(..new.len().min(history.len()));
                history.extend_from_slice(new);
            }
            return;
        }
        for (plane, buffer) in input.zip(&mut self.buffer) {
            buffer.extend_from_slice(plane);
        }
        let end = self.buffer.first().map_or(0, Vec::len);
        self.run(end, u64::MAX, out);
        if self.homing() == Some(0) {
            self.enter_bypass(out);
        } else {
            self.discard();
        }
    }

    /// The input ended: appends the rest to `out` and starts anew.
    pub fn finish(&mut self, out: &mut [Vec<f32>]) {
        if !self.bypass {
            let unit = self.phases << SUB;
            let half = self.taps / 2;
            let frames = self.buffer.first().map_or(0, Vec::len) - (half - 1);
            // Round to nearest: the last frame lies at least half a step before the end.
            let limit = (frames as u64 * unit).saturating_sub(self.step / 2);
            for buffer in &mut self.buffer {
                buffer.resize(buffer.len() + half + 1, 0.0);
            }
            if frames > 0 {
                let end = self.buffer.first().map_or(0, Vec::len);
                self.run(end, limit, out);
            }
        }
        self.reset();
    }

    /// Computes frames up to position `limit` while the filter fits into `end` frames of buffer.
    #[inline(never)]
    fn run(&mut self, end: usize, limit: u64, out: &mut [Vec<f32>]) {
        let unit = self.phases << SUB;
        loop {
            let first = (self.position / unit) as usize;
            if first + self.taps > end || self.position > limit {
                break;
            }
            let homing = self.homing();
            if homing == Some(0) && limit == u64::MAX {
                break;
            }
            let fraction = self.position % unit;
            let phase = (fraction >> SUB) as usize;
            let sub = fraction & ((1 << SUB) - 1);
            if sub == 0 {
                let row = &self.table[(phase + 1) * self.taps..(phase + 2) * self.taps];
                for (buffer, out) in self.buffer.iter().zip(out.iter_mut()) {
                    out.push(dot(&buffer[first..first + self.taps], row));
                }
            } else {
                let rows = &self.table[phase * self.taps..(phase + 4) * self.taps];
                interpolate(rows, sub as f32 / (1u64 << SUB) as f32, &mut self.row);
                for (buffer, out) in self.buffer.iter().zip(out.iter_mut()) {
                    out.push(dot(&buffer[first..first + self.taps], &self.row));
                }
            }
            let most = (unit >> HOMING) as i64;
            let home = homing.unwrap_or(0).clamp(-most, most);
            self.position = self.position.wrapping_add_signed(home) + self.step;
        }
    }

    /// Equal rates and no correction.
    fn passes(&self) -> bool {
        self.step == self.phases << SUB && self.step == self.nominal_step
    }

    /// How far the nearest whole frame is, when there is no reason to be between frames.
    #[inline(never)]
    fn homing(&self) -> Option<i64> {
        if self.bypass || !self.passes() {
            return None;
        }
        let unit = self.phases << SUB;
        let past = (self.position % unit) as i64;
        let home = if past > unit as i64 / 2 {
            unit as i64 - past
        } else {
            -past
        };
        Some(home)
    }

    /// At a whole frame: what was held for the look-ahead goes out as it is.
    #[inline(never)]
    fn enter_bypass(&mut self, out: &mut [Vec<f32>]) {
        let history = self.taps / 2 - 1;
        let next = (self.position / (self.phases << SUB)) as usize + history;
        for (buffer, out) in self.buffer.iter_mut().zip(out) {
            out.extend_from_slice(buffer.get(next..).unwrap_or_default());
            buffer.drain(..buffer.len().saturating_sub(history));
        }
        self.position = 0;
        self.bypass = true;
    }

    /// Drops input that no later frame needs.
    fn discard(&mut self) {
        let unit = self.phases << SUB;
        let end = self.buffer.first().map_or(0, Vec::len);
        let passed = ((self.position / unit) as usize).min(end);
        if passed < 4 * self.taps {
            return;
        }
        for buffer in &mut self.buffer {
            buffer.drain(..passed);
        }
        self.position -= passed as u64 * unit;
    }

    fn leave_bypass(&mut self) {
        self.bypass = false;
        self.position = 0;
        if self.table.is_empty() {
            self.prepare(1.0);
        }
    }

    /// Fills the table for a cutoff scaled by `scale`.
    #[inline(never)]
    fn prepare(&mut self, scale: f64) {
        let half = (self.taps / 2) as f64;
        let cutoff = CUTOFF * scale;
        let norm = 1.0 / bessel_i0(BETA);
        self.table
            .reserve_exact((self.phases as usize + 3) * self.taps);
        for phase in -1..=self.phases as i64 + 1 {
            let offset = phase as f64 / self.phases as f64;
            let start = self.table.len();
            let mut sum = 0.0;
            for tap in 0..self.taps {
                // Distance from the output position to this input frame.
                let t = tap as f64 - (half - 1.0) - offset;
                let edge = 1.0 - (t / half) * (t / half);
                let window = if edge > 0.0 {
                    bessel_i0(BETA * edge.sqrt()) * norm
                } else {
                    0.0
                };
                let x = PI * cutoff * t;
                let sinc = if x.abs() < 1e-9 {
                    1.0
                } else {
                    sin_pi(cutoff * t) / x
                };
                let value = cutoff * sinc * window;
                sum += value;
                self.table.push(value as f32);
            }
            // Every phase passes DC exactly alike, or DC would be modulated.
            let gain = (1.0 / sum) as f32;
            for value in &mut self.table[start..] {
                *value *= gain;
            }
        }
    }
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// sin(πx) by its Taylor series around the nearest integer. The general sine
/// of `std` would bring 6 kB of argument reduction into the wasm module.
#[inline(never)]
pub(crate) fn sin_pi(x: f64) -> f64 {
    /// ±1/(2n + 1)!, the highest first; the next is 3e-16 at π/2.
    const TERMS: [f64; 10] = {
        let mut terms = [1.0; 10];
        let mut n = 1;
        while n < 10 {
            let k = (2 * n) as f64;
            terms[9 - n] = -terms[10 - n] / (k * (k + 1.0));
            n += 1;
        }
        terms
    };
    // Not `round`: ties do not matter here, and this is one instruction.
    let nearest = x.round_ties_even();
    let y = PI * (x - nearest);
    let square = y * y;
    let sum = y * TERMS.iter().fold(0.0, |sum, term| sum * square + term);
    if nearest as i32 & 1 == 0 { sum } else { -sum }
}

/// Modified Bessel function of the first kind, order zero.
fn bessel_i0(x: f64) -> f64 {
    let quarter = x * x / 4.0;
    let (mut sum, mut term, mut n) = (1.0, 1.0, 1.0);
    while term > sum * 1e-17 {
        term *= quarter / (n * n);
        sum += term;
        n += 1.0;
    }
    sum
}

/// Sixteen running sums, which the compiler keeps in vector registers.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0f32; 16];
    for (a, b) in a.chunks_exact(16).zip(b.chunks_exact(16)) {
        for i in 0..16 {
            sums[i] += a[i] * b[i];
        }
    }
    let mut total = 0.0;
    for i in 0..4 {
        total += (sums[i] + sums[i + 4]) + (sums[i + 8] + sums[i + 12]);
    }
    total
}

/// Cubic Lagrange interpolation between the middle two of four rows.
fn interpolate(rows: &[f32], t: f32, out: &mut [f32]) {
    let taps = out.len();
    let (before, rest) = rows.split_at(taps);
    let (from, rest) = rest.split_at(taps);
    let (to, after) = rest.split_at(taps);
    let (t1, t2, t3) = (t + 1.0, t - 1.0, t - 2.0);
    let w0 = -t * t2 * t3 / 6.0;
    let w1 = t1 * t2 * t3 / 2.0;
    let w2 = -t1 * t * t3 / 2.0;
    let w3 = t1 * t * t2 / 6.0;
    let pairs = before.iter().zip(from).zip(to.iter().zip(after));
    for (out, ((a, b), (c, d))) in out.iter_mut().zip(pairs) {
        *out = w0 * a + w1 * b + w2 * c + w3 * d;
    }
}

#[cfg(test)]
mod tests;
