//! Pitch-preserving time-stretch by a few per cent.
//!
//! Waveform similarity overlap-add (Verhelst and Roelands 1993) in the sparse form
//! that voice-over-IP receivers use: the signal is copied as it is, and once in a
//! while one period of it is repeated (slower) or left out (faster), crossfaded
//! where the two places look most alike. Between such splices not a sample is
//! touched, and at tempo 1 all of it passes through without delay.
//!
//! ```text
//! slower   … a b c d │ c d e f …     back by the lag L, crossfaded over W
//! faster   … a b c d │ g h i j …     forward by L
//! ```

use crate::resample::sin_pi;

/// Shortest lag, s: one period of 400 Hz.
const SHORTEST: f64 = 0.0025;
/// Longest lag, s: one period of 67 Hz, lower than a voice.
const LONGEST: f64 = 0.015;
/// Crossfade, s.
const FADE: f64 = 0.008;
/// Distance between two tries, s.
const HOP: f64 = 0.0025;
/// Normalised correlation from which two places are alike.
const ALIKE: f32 = 0.7;
/// Root mean square under which any two places are alike: −66 dB.
const SILENT: f32 = 0.0005;
/// The coarse search looks at every such sample.
const COARSE: usize = 4;

/// A streaming time-stretcher for planar PCM.
#[derive(Clone, Debug)]
pub struct Stretch {
    /// Input, `at` frames of which have been put out and are kept to go back to.
    planes: Vec<Vec<f32>>,
    at: usize,
    /// Output frames owed (slower) or owing (faster, negative).
    credit: f64,
    tempo: f64,
    shortest: usize,
    longest: usize,
    fade: usize,
    hop: usize,
    moved: u64,
}

impl Stretch {
    /// A stretcher at tempo 1.
    pub fn new(rate: u32, channels: usize) -> Self {
        let frames = |seconds: f64| ((seconds * f64::from(rate)).round() as usize).max(COARSE);
        Self {
            planes: vec![Vec::new(); channels.max(1)],
            at: 0,
            credit: 0.0,
            tempo: 1.0,
            shortest: frames(SHORTEST),
            longest: frames(LONGEST),
            fade: frames(FADE),
            hop: frames(HOP),
            moved: 0,
        }
    }

    /// Input frames consumed per output frame: under 1 is slower. Taken within 0.9 to 1.1.
    pub fn set_tempo(&mut self, tempo: f64) {
        self.tempo = if tempo.is_finite() {
            tempo.clamp(0.9, 1.1)
        } else {
            1.0
        };
    }

    /// Input frames taken and not yet put out; 0 at tempo 1.
    pub fn held(&self) -> usize {
        self.planes[0].len() - self.at
    }

    /// Frames repeated or left out so far.
    pub fn moved(&self) -> u64 {
        self.moved
    }

    /// Forgets everything but the tempo.
    pub fn reset(&mut self) {
        for plane in &mut self.planes {
            plane.clear();
        }
        self.at = 0;
        self.credit = 0.0;
    }

    /// Takes one slice of equal length per channel and appends what is ready to `out`.
    /// Channels beyond the stretcher's are ignored, missing ones silent.
    pub fn process<'a>(&mut self, input: impl Iterator<Item = &'a [f32]>, out: &mut [Vec<f32>]) {
        let before = self.planes[0].len();
        for (plane, channel) in self.planes.iter_mut().zip(input) {
            plane.extend_from_slice(channel);
        }
        let len = self.planes[0].len();
        for plane in &mut self.planes {
            plane.resize(len, 0.0);
        }
        debug_assert!(len >= before);
        while self.step(out) {}
        self.forget();
    }

    /// Appends what is still held; call it when no more input follows.
    pub fn finish(&mut self, out: &mut [Vec<f32>]) {
        self.copy(self.held(), out);
        self.forget();
    }

    /// Copies up to the next try, or splices; false when more input is needed.
    fn step(&mut self, out: &mut [Vec<f32>]) -> bool {
        let held = self.held();
        let gain = 1.0 / self.tempo - 1.0;
        // Half of the longest lag owed: the lag that is found is about that on average.
        let trigger = self.longest as f64 / 2.0;
        let slower = self.credit > 0.0;
        if self.credit.abs() < trigger || gain == 0.0 || slower != (gain > 0.0) {
            // At a tempo of 1 nothing is ever owed again; after a change of direction debts cancel.
            let far = if gain == 0.0 {
                f64::INFINITY
            } else {
                (trigger * gain.signum() - self.credit) / gain
            };
            let frames = held.min(if far.is_finite() {
                far.ceil().max(1.0) as usize
            } else {
                held
            });
            self.copy(frames, out);
            self.credit += gain * frames as f64;
            return frames > 0;
        }
        if held < self.fade + if slower { 0 } else { self.longest } {
            return false;
        }
        let wait = self.credit.abs() < 3.0 * trigger;
        match self
            .find(slower)
            .filter(|(_, alike)| *alike >= ALIKE || !wait)
        {
            Some((lag, _)) => self.splice(lag, slower, out),
            None => {
                let frames = self.hop.min(held);
                self.copy(frames, out);
                self.credit += gain * frames as f64;
            }
        }
        true
    }

    fn copy(&mut self, frames: usize, out: &mut [Vec<f32>]) {
        for (plane, out) in self.planes.iter().zip(out) {
            out.extend_from_slice(&plane[self.at..self.at + frames]);
        }
        self.at += frames;
    }

    /// Crossfades from here into the place `lag` frames back or ahead.
    fn splice(&mut self, lag: usize, slower: bool, out: &mut [Vec<f32>]) {
        let to = if slower { self.at - lag } else { self.at + lag };
        for (plane, out) in self.planes.iter().zip(out) {
            let (old, new) = (
                &plane[self.at..self.at + self.fade],
                &plane[to..to + self.fade],
            );
            out.extend(old.iter().zip(new).enumerate().map(|(i, (old, new))| {
                let x = (i as f32 + 0.5) / self.fade as f32;
                // Raised cosine; amplitudes add up to 1, as the two are alike.
                let gain = 0.5 - 0.5 * sin_pi(f64::from(x) + 0.5) as f32;
                old * (1.0 - gain) + new * gain
            }));
        }
        let consumed = to + self.fade - self.at.min(to + self.fade);
        self.at = to + self.fade;
        self.credit += if slower { -(lag as f64) } else { lag as f64 };
        // What was put out while fading moved the input on as well.
        let gain = 1.0 / self.tempo - 1.0;
        self.credit += gain
            * if slower {
                self.fade as f64
            } else {
                consumed as f64
            };
        self.moved += lag as u64;
    }

    /// The lag whose place looks most like this one, and how much; `None` when there is not enough to go back to.
    fn find(&self, slower: bool) -> Option<(usize, f32)> {
        let longest = if slower {
            self.longest.min(self.at)
        } else {
            self.longest
        };
        if longest < self.shortest {
            return None;
        }
        let here = self.mono(self.at, self.fade);
        let first = if slower {
            self.at - longest
        } else {
            self.at + self.shortest
        };
        let there = self.mono(first, longest - self.shortest + self.fade);
        // Offset o in `there` is lag longest − o when going back, shortest + o when going on.
        let offsets = longest - self.shortest;
        let energy: f32 = here.iter().map(|x| x * x).sum();
        let lag_of = |o: usize| {
            if slower {
                longest - o
            } else {
                self.shortest + o
            }
        };
        if energy < SILENT * SILENT * self.fade as f32 {
            return Some((lag_of(offsets / 2), 1.0));
        }
        let alike = |o: usize, step: usize| {
            let (mut product, mut own, mut other) = (0f32, 0f32, 1e-12f32);
            for i in (0..self.fade).step_by(step) {
                let (a, b) = (here[i], there[o + i]);
                product += a * b;
                own += a * a;
                other += b * b;
            }
            product / (own * other).sqrt().max(1e-12)
        };
        let best = |range: &mut dyn Iterator<Item = usize>, step: usize| {
            range
                .map(|o| (o, alike(o, step)))
                .max_by(|a, b| a.1.total_cmp(&b.1))
        };
        let (coarse, _) = best(&mut (0..=offsets).step_by(COARSE), COARSE)?;
        let near = coarse.saturating_sub(COARSE)..=(coarse + COARSE).min(offsets);
        best(&mut near.into_iter(), 1).map(|(o, alike)| (lag_of(o), alike))
    }

    fn mono(&self, from: usize, frames: usize) -> Vec<f32> {
        let mut sum = vec![0.0; frames];
        for plane in &self.planes {
            for (s, x) in sum.iter_mut().zip(&plane[from..from + frames]) {
                *s += x;
            }
        }
        sum
    }

    /// Drops what no splice can go back to.
    fn forget(&mut self) {
        let stale = self.at.saturating_sub(self.longest);
        if stale > 0 {
            for plane in &mut self.planes {
                plane.drain(..stale);
            }
            self.at -= stale;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: u32 = 48_000;

    fn sine(hz: f64, seconds: f64) -> Vec<f32> {
        let frames = (seconds * f64::from(RATE)) as usize;
        (0..frames)
            .map(|n| (0.5 * (std::f64::consts::TAU * hz * n as f64 / f64::from(RATE)).sin()) as f32)
            .collect()
    }

    /// A voice: pulses at a gliding pitch through two resonances, with pauses.
    fn voice(seconds: f64) -> Vec<f32> {
        let rate = f64::from(RATE);
        let (mut phase, mut state) = (0.0, [[0f64; 2]; 2]);
        (0..(seconds * rate) as usize)
            .map(|n| {
                let t = n as f64 / rate;
                phase += (140.0 + 40.0 * (t * 3.0).sin()) / rate;
                let loud = if (t * 1.3).fract() < 0.75 { 1.0 } else { 0.0 };
                let mut x = if phase >= 1.0 { loud } else { 0.0 };
                phase = phase.fract();
                for (s, (hz, r)) in state.iter_mut().zip([(600.0, 0.985), (1_700.0, 0.97)]) {
                    let y = x * 0.3 + 2.0 * r * (std::f64::consts::TAU * hz / rate).cos() * s[0]
                        - r * r * s[1];
                    *s = [y, s[0]];
                    x = y;
                }
                (x * 0.05) as f32
            })
            .collect()
    }

    fn stretch(input: &[f32], tempo: f64, cut: usize) -> Vec<f32> {
        let mut s = Stretch::new(RATE, 1);
        s.set_tempo(tempo);
        let mut out = vec![Vec::new()];
        for piece in input.chunks(cut) {
            s.process(std::iter::once(piece), &mut out);
        }
        s.finish(&mut out);
        assert_eq!(s.held(), 0);
        out.remove(0)
    }

    fn steepest(x: &[f32]) -> f32 {
        x.windows(2)
            .map(|w| (w[1] - w[0]).abs())
            .fold(0.0, f32::max)
    }

    #[test]
    fn tempo_one_passes_through_without_delay() {
        let input = voice(1.0);
        let mut s = Stretch::new(RATE, 1);
        let mut out = vec![Vec::new()];
        for piece in input.chunks(777) {
            s.process(std::iter::once(piece), &mut out);
            assert_eq!(s.held(), 0);
        }
        assert_eq!(out[0], input);
    }

    #[test]
    fn the_length_changes_and_the_pitch_does_not() {
        for tempo in [0.95, 0.98, 1.02, 1.05] {
            for hz in [110.0, 440.0, 1_000.0] {
                let input = sine(hz, 4.0);
                let out = stretch(&input, tempo, 960);
                let want = input.len() as f64 / tempo;
                assert!(
                    (out.len() as f64 - want).abs() < 0.03 * f64::from(RATE),
                    "{tempo}, {hz} Hz: {} for {want}",
                    out.len()
                );
                let crossings = out.windows(2).filter(|w| w[0] < 0.0 && w[1] >= 0.0).count() as f64;
                let heard = crossings / (out.len() as f64 / f64::from(RATE));
                assert!(
                    (heard / hz - 1.0).abs() < 0.003,
                    "{tempo}, {hz} Hz: {heard} Hz"
                );
                assert!(
                    steepest(&out) < 1.05 * steepest(&input),
                    "{tempo}, {hz} Hz: click"
                );
                let loudest = out.iter().fold(0f32, |a, x| a.max(x.abs()));
                assert!(
                    (0.49..0.51).contains(&loudest),
                    "{tempo}, {hz} Hz: {loudest}"
                );
            }
        }
    }

    #[test]
    fn a_voice_keeps_its_loudness_and_gets_no_clicks() {
        let input = voice(6.0);
        let power =
            |x: &[f32]| (x.iter().map(|x| f64::from(x * x)).sum::<f64>() / x.len() as f64).sqrt();
        for tempo in [0.95, 1.05] {
            let out = stretch(&input, tempo, 480);
            assert!(
                (out.len() as f64 * tempo / input.len() as f64 - 1.0).abs() < 0.01,
                "{tempo}: {}",
                out.len()
            );
            let change = 20.0 * (power(&out) / power(&input)).log10();
            assert!(change.abs() < 0.3, "{tempo}: {change} dB");
            assert!(steepest(&out) <= 1.1 * steepest(&input), "{tempo}: click");
        }
    }

    #[test]
    fn the_cutting_of_the_input_does_not_matter() {
        let input = voice(2.0);
        let whole = stretch(&input, 0.95, input.len());
        for cut in [1, 97, 960, 20_000] {
            assert_eq!(stretch(&input, 0.95, cut), whole, "cut in {cut}");
        }
    }

    #[test]
    fn channels_stay_together_and_silence_is_stretched_too() {
        let left = voice(2.0);
        let right: Vec<f32> = left.iter().map(|x| -0.5 * x).collect();
        let mut s = Stretch::new(RATE, 2);
        s.set_tempo(0.95);
        let mut out = vec![Vec::new(), Vec::new()];
        s.process([left.as_slice(), right.as_slice()].into_iter(), &mut out);
        s.finish(&mut out);
        assert!(
            out[0]
                .iter()
                .zip(&out[1])
                .all(|(l, r)| (r + 0.5 * l).abs() < 1e-6)
        );
        let silent = stretch(&vec![0.0; 96_000], 0.95, 960);
        assert!((silent.len() as f64 - 96_000.0 / 0.95).abs() < 1_500.0);
        assert!(silent.iter().all(|x| *x == 0.0));
    }

    #[test]
    fn what_is_held_is_bounded() {
        let mut s = Stretch::new(RATE, 1);
        s.set_tempo(1.05);
        let mut out = vec![Vec::new()];
        let input = voice(3.0);
        for piece in input.chunks(480) {
            s.process(std::iter::once(piece), &mut out);
            // The longest lag and the crossfade: 23 ms.
            assert!(
                s.held() < (0.023 * f64::from(RATE)) as usize + 480,
                "{}",
                s.held()
            );
            assert!(s.planes[0].len() < 4_096);
        }
        assert!(s.moved() > 5_000);
    }
}
