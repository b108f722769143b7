//! What sounds: plucked strings, a pad, a bass and light percussion.

use std::f32::consts::TAU;

use super::score::Dice;

/// A plucked string after Karplus and Strong: noise in a delay line that is
/// averaged on every turn.
#[derive(Clone, Debug)]
pub(super) struct Pluck {
    line: Vec<f32>,
    at: usize,
    /// Fraction of a sample by which the delay is tuned, and the filter's past.
    tuning: f32,
    past: f32,
    input: f32,
    tuned: f32,
    decay: f32,
    left: f32,
    right: f32,
    level: f32,
}

impl Pluck {
    pub(super) fn silent() -> Self {
        Self {
            line: Vec::new(),
            at: 0,
            tuning: 0.0,
            past: 0.0,
            input: 0.0,
            tuned: 0.0,
            decay: 0.0,
            left: 0.0,
            right: 0.0,
            level: 0.0,
        }
    }

    /// Strikes the string; `pan` is −1 (left) to 1.
    pub(super) fn strike(&mut self, rate: f32, hertz: f32, force: f32, pan: f32, dice: &mut Dice) {
        // The averaging adds half a sample to the loop.
        let period = rate / hertz - 0.5;
        let whole = period.floor().max(2.0);
        self.line.clear();
        let mut soft = 0.0;
        // A softer stroke has less treble.
        let bright = 0.25 + 0.6 * force;
        self.line.extend((0..whole as usize).map(|_| {
            soft += bright * (dice.bipolar() - soft);
            soft
        }));
        let fraction = period - whole;
        self.tuning = (1.0 - fraction) / (1.0 + fraction);
        self.at = 0;
        self.past = 0.0;
        self.input = 0.0;
        self.tuned = 0.0;
        // About 2.5 s to −60 dB whatever the pitch.
        self.decay = 0.001_f32.powf(1.0 / (2.5 * hertz));
        let angle = (pan + 1.0) * TAU / 8.0;
        (self.right, self.left) = angle.sin_cos();
        self.level = force;
    }

    pub(super) fn next(&mut self) -> (f32, f32) {
        let Some(&out) = self.line.get(self.at) else {
            return (0.0, 0.0);
        };
        let averaged = 0.5 * (out + self.past) * self.decay;
        self.past = out;
        // An all-pass delays by the fraction (Jaffe and Smith, 1983).
        let tuned = self.tuning * (averaged - self.tuned) + self.input;
        self.input = averaged;
        self.tuned = tuned;
        if let Some(slot) = self.line.get_mut(self.at) {
            *slot = tuned;
        }
        self.at = (self.at + 1) % self.line.len();
        let out = out * self.level;
        (out * self.left, out * self.right)
    }
}

/// A sine without calls to `sin`: a vector turned by a fixed angle.
#[derive(Clone, Copy, Debug)]
struct Rotor {
    re: f32,
    im: f32,
    turn: (f32, f32),
}

impl Rotor {
    fn new(rate: f32, hertz: f32, phase: f32) -> Self {
        let (im, re) = (phase * TAU).sin_cos();
        let mut rotor = Self {
            re,
            im,
            turn: (1.0, 0.0),
        };
        rotor.tune(rate, hertz);
        rotor
    }

    fn tune(&mut self, rate: f32, hertz: f32) {
        let (sin, cos) = (TAU * hertz / rate).sin_cos();
        self.turn = (cos, sin);
    }

    fn next(&mut self) -> f32 {
        let (cos, sin) = self.turn;
        (self.re, self.im) = (self.re * cos - self.im * sin, self.re * sin + self.im * cos);
        // One Newton step keeps the length at 1 for ever.
        let gain = 1.5 - 0.5 * (self.re * self.re + self.im * self.im);
        self.re *= gain;
        self.im *= gain;
        self.im
    }
}

/// One voice of the pad: two slightly detuned oscillators, one on each side.
#[derive(Clone, Debug)]
struct PadVoice {
    left: [Rotor; 2],
    right: [Rotor; 2],
    level: f32,
    target: f32,
}

/// A soft pad of two layers of four voices that fade into each other.
#[derive(Clone, Debug)]
pub(super) struct Pad {
    rate: f32,
    voices: [PadVoice; 8],
    layer: usize,
    sway: Rotor,
    step: f32,
}

impl Pad {
    pub(super) fn new(rate: f32) -> Self {
        let rotor = |phase| Rotor::new(rate, 220.0, phase);
        let voice = |n: usize| PadVoice {
            left: [rotor(0.13 * n as f32), rotor(0.31 * n as f32)],
            right: [rotor(0.57 * n as f32), rotor(0.77 * n as f32)],
            level: 0.0,
            target: 0.0,
        };
        Self {
            rate,
            voices: std::array::from_fn(voice),
            layer: 0,
            sway: Rotor::new(rate, 0.11, 0.0),
            // 1.8 s from one chord to the next.
            step: 1.0 / (1.8 * rate),
        }
    }

    pub(super) fn change(&mut self, hertz: [f32; 4]) {
        self.layer = 1 - self.layer;
        for (n, voice) in self.voices.iter_mut().enumerate() {
            if n / 4 != self.layer {
                voice.target = 0.0;
                continue;
            }
            voice.target = 1.0;
            let pitch = hertz[n % 4];
            let detune = 1.0 + 0.0016 * (1.0 + n as f32 * 0.2);
            for (side, factor) in [(&mut voice.left, 1.0 / detune), (&mut voice.right, detune)] {
                side[0].tune(self.rate, pitch * factor);
                side[1].tune(self.rate, pitch * factor * 2.0);
            }
        }
    }

    pub(super) fn next(&mut self) -> (f32, f32) {
        let sway = 1.0 + 0.18 * self.sway.next();
        let mut sum = (0.0, 0.0);
        for voice in &mut self.voices {
            voice.level += (voice.target - voice.level).clamp(-self.step, self.step);
            if voice.level <= 0.0 {
                continue;
            }
            // Squared: a fade that the ear hears as even.
            let level = voice.level * voice.level;
            let [ground, octave] = &mut voice.left;
            sum.0 += level * (ground.next() + 0.22 * octave.next());
            let [ground, octave] = &mut voice.right;
            sum.1 += level * (ground.next() + 0.22 * octave.next());
        }
        (sum.0 * sway, sum.1 * (2.0 - sway))
    }
}

/// A round bass note that dies away.
#[derive(Clone, Debug)]
pub(super) struct Bass {
    rate: f32,
    ground: Rotor,
    octave: Rotor,
    level: f32,
    attack: f32,
}

impl Bass {
    pub(super) fn new(rate: f32) -> Self {
        Self {
            rate,
            ground: Rotor::new(rate, 55.0, 0.0),
            octave: Rotor::new(rate, 110.0, 0.0),
            level: 0.0,
            attack: 0.0,
        }
    }

    pub(super) fn strike(&mut self, hertz: f32, force: f32) {
        self.ground.tune(self.rate, hertz);
        self.octave.tune(self.rate, hertz * 2.0);
        self.attack = force;
    }

    pub(super) fn next(&mut self) -> f32 {
        if self.attack > self.level {
            self.level += 120.0 / self.rate;
            if self.level >= self.attack {
                self.attack = 0.0;
            }
        } else {
            self.level *= 1.0 - 0.9 / self.rate;
        }
        self.level * (self.ground.next() + 0.35 * self.octave.next())
    }
}

/// A soft drum: a sine that falls in pitch.
#[derive(Clone, Debug)]
pub(super) struct Drum {
    rate: f32,
    phase: f32,
    level: f32,
    pitch: f32,
}

impl Drum {
    pub(super) fn new(rate: f32) -> Self {
        Self {
            rate,
            phase: 0.0,
            level: 0.0,
            pitch: 0.0,
        }
    }

    pub(super) fn strike(&mut self, force: f32) {
        self.level = force;
        self.pitch = 105.0;
        self.phase = 0.0;
    }

    pub(super) fn next(&mut self) -> f32 {
        if self.level < 1e-4 {
            return 0.0;
        }
        self.phase = (self.phase + (46.0 + self.pitch) / self.rate).fract();
        self.pitch *= 1.0 - 38.0 / self.rate;
        self.level *= 1.0 - 9.0 / self.rate;
        self.level * (self.phase * TAU).sin()
    }
}

/// A brushed cymbal or shaker: noise through a high-pass, on one side.
#[derive(Clone, Debug)]
pub(super) struct Brush {
    rate: f32,
    level: f32,
    fall: f32,
    low: f32,
    pan: f32,
}

impl Brush {
    pub(super) fn new(rate: f32, pan: f32) -> Self {
        Self {
            rate,
            level: 0.0,
            fall: 40.0,
            low: 0.0,
            pan,
        }
    }

    pub(super) fn strike(&mut self, force: f32, fall: f32) {
        self.level = force;
        self.fall = fall;
    }

    pub(super) fn next(&mut self, dice: &mut Dice) -> (f32, f32) {
        if self.level < 1e-4 {
            return (0.0, 0.0);
        }
        let noise = dice.bipolar();
        self.low += 0.55 * (noise - self.low);
        self.level *= 1.0 - self.fall / self.rate;
        let out = self.level * (noise - self.low);
        (out * (1.0 - self.pan), out * (1.0 + self.pan))
    }
}
