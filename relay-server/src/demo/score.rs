//! What is played: chords, sections and the dice.

/// A small generator of random numbers (xorshift64*), the same on every run.
#[derive(Clone, Debug)]
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// From 0 to 1.
    pub(super) fn unit(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1_u32 << 24) as f32
    }

    /// From −1 to 1.
    pub(super) fn bipolar(&mut self) -> f32 {
        self.unit() * 2.0 - 1.0
    }

    /// From 0 to `below` − 1.
    pub(super) fn below(&mut self, below: usize) -> usize {
        (self.next() >> 33) as usize % below.max(1)
    }
}

/// Four voices of a chord and its bass, as MIDI notes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Chord {
    pub(super) bass: u8,
    pub(super) voices: [u8; 4],
}

const fn chord(bass: u8, voices: [u8; 4]) -> Chord {
    Chord { bass, voices }
}

/// A section: its name, its chords (two bars each), and how busy it is.
#[derive(Debug)]
pub(super) struct Section {
    pub(super) title: &'static str,
    pub(super) chords: [Chord; 8],
    /// Chance that an eighth note of the arpeggio is played.
    pub(super) density: f32,
    /// Level of the percussion.
    pub(super) drums: f32,
}

/// Warm, slow progressions in D major and its neighbours. The upper voices
/// move by steps, so that the pad glides from chord to chord.
pub(super) const SECTIONS: [Section; 4] = [
    Section {
        title: "First Light",
        chords: [
            chord(38, [57, 61, 64, 66]),
            chord(35, [57, 61, 62, 66]),
            chord(43, [57, 59, 62, 66]),
            chord(45, [57, 59, 62, 64]),
            chord(38, [57, 61, 64, 66]),
            chord(42, [57, 61, 64, 68]),
            chord(43, [59, 62, 66, 69]),
            chord(45, [57, 61, 64, 67]),
        ],
        density: 0.62,
        drums: 0.0,
    },
    Section {
        title: "Harbour Lamps",
        chords: [
            chord(35, [57, 61, 62, 66]),
            chord(43, [57, 59, 62, 66]),
            chord(38, [57, 61, 64, 66]),
            chord(45, [57, 61, 64, 66]),
            chord(35, [54, 57, 61, 64]),
            chord(40, [55, 59, 62, 66]),
            chord(43, [57, 59, 62, 66]),
            chord(45, [57, 59, 62, 64]),
        ],
        density: 0.78,
        drums: 0.75,
    },
    Section {
        title: "Slow Train North",
        chords: [
            chord(40, [55, 59, 62, 66]),
            chord(45, [57, 61, 64, 67]),
            chord(38, [57, 61, 64, 66]),
            chord(43, [59, 62, 66, 69]),
            chord(40, [59, 62, 64, 67]),
            chord(42, [57, 61, 64, 66]),
            chord(43, [57, 59, 62, 66]),
            chord(45, [57, 62, 64, 69]),
        ],
        density: 0.88,
        drums: 1.0,
    },
    Section {
        title: "Paper Lanterns",
        chords: [
            chord(43, [57, 59, 62, 66]),
            chord(42, [57, 61, 64, 66]),
            chord(40, [55, 59, 62, 66]),
            chord(38, [54, 57, 61, 64]),
            chord(43, [59, 62, 66, 69]),
            chord(45, [61, 64, 67, 69]),
            chord(35, [57, 61, 62, 66]),
            chord(45, [57, 61, 64, 67]),
        ],
        density: 0.70,
        drums: 0.4,
    },
];

/// Frequency of a MIDI note, Hz.
pub(super) fn hertz(note: u8) -> f32 {
    440.0 * ((f32::from(note) - 69.0) / 12.0).exp2()
}
