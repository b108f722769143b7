//! The piece: a sequencer over the voices. Pure and deterministic.

use super::effects::{Delay, Reverb};
use super::score::{Chord, Dice, SECTIONS, Section, hertz};
use super::voices::{Bass, Brush, Drum, Pad, Pluck};

/// Frames per second.
pub const SAMPLE_RATE: u32 = 48_000;
/// Quarter notes per minute.
const TEMPO: u32 = 80;
/// Frames of a sixteenth note: 9 000, a whole number, so that bars never drift.
const STEP: u32 = SAMPLE_RATE * 60 / TEMPO / 4;
/// Sixteenths of a chord: two bars.
const CHORD_STEPS: u64 = 32;
/// Chords of a section.
const SECTION_CHORDS: u64 = 8;

/// An endless piece of music in stereo.
#[derive(Debug)]
pub struct Synth {
    dice: Dice,
    frame: u32,
    step: u64,
    plucks: Vec<Pluck>,
    next_pluck: usize,
    pad: Pad,
    bass: Bass,
    drum: Drum,
    brushes: [Brush; 2],
    delay: Delay,
    reverb: Reverb,
    drums: f32,
    new_title: bool,
}

impl Synth {
    /// The piece from its beginning; other seeds vary its details.
    pub fn new(seed: u64) -> Self {
        let rate = SAMPLE_RATE as f32;
        Self {
            dice: Dice::new(seed),
            frame: 0,
            step: 0,
            plucks: vec![Pluck::silent(); 10],
            next_pluck: 0,
            pad: Pad::new(rate),
            bass: Bass::new(rate),
            drum: Drum::new(rate),
            brushes: [Brush::new(rate, -0.45), Brush::new(rate, 0.4)],
            // A dotted eighth.
            delay: Delay::new(STEP as usize * 3),
            reverb: Reverb::new(rate),
            drums: 0.0,
            new_title: true,
        }
    }

    /// Fills `out`, interleaved left and right, with what comes next. Samples
    /// stay within ±0.9.
    pub fn render(&mut self, out: &mut [f32]) {
        for pair in out.chunks_exact_mut(2) {
            if self.frame == 0 {
                self.sixteenth();
                self.step += 1;
            }
            self.frame = (self.frame + 1) % STEP;
            (pair[0], pair[1]) = self.next();
        }
    }

    /// The name of the section that plays.
    pub fn title(&self) -> &'static str {
        self.section().title
    }

    /// The name of the section, when one has begun since the last call.
    pub fn new_title(&mut self) -> Option<&'static str> {
        std::mem::take(&mut self.new_title).then(|| self.title())
    }

    fn section(&self) -> &'static Section {
        let number = self.step.saturating_sub(1) / (CHORD_STEPS * SECTION_CHORDS);
        &SECTIONS[number as usize % SECTIONS.len()]
    }

    /// Plays what begins on this sixteenth.
    fn sixteenth(&mut self) {
        let number = self.step / (CHORD_STEPS * SECTION_CHORDS);
        let section = &SECTIONS[number as usize % SECTIONS.len()];
        let within = self.step % (CHORD_STEPS * SECTION_CHORDS);
        let chord = section.chords[(within / CHORD_STEPS) as usize];
        let beat = within % CHORD_STEPS;
        if within == 0 {
            self.new_title = true;
        }
        if beat == 0 {
            self.pad.change(chord.voices.map(hertz));
        }
        if matches!(beat, 0 | 14 | 16 | 26) {
            let force = if beat == 0 { 1.0 } else { 0.72 };
            let octave = if beat == 26 { 12 } else { 0 };
            self.bass.strike(hertz(chord.bass + octave), force);
        }
        if beat.is_multiple_of(2) {
            self.arpeggio(section, chord, beat);
        }
        self.percussion(section, beat);
    }

    fn arpeggio(&mut self, section: &Section, chord: Chord, beat: u64) {
        let accent = beat.is_multiple_of(8);
        if !accent && self.dice.unit() > section.density {
            return;
        }
        // Up and down the chord, with a leap now and then.
        const PATTERN: [usize; 8] = [0, 2, 1, 3, 2, 1, 3, 2];
        let mut voice = PATTERN[(beat / 2) as usize % PATTERN.len()];
        if self.dice.unit() < 0.2 {
            voice = self.dice.below(4);
        }
        let octave = if self.dice.unit() < 0.3 { 24 } else { 12 };
        let note = chord.voices[voice] + octave;
        let force = if accent {
            0.95
        } else {
            0.5 + 0.3 * self.dice.unit()
        };
        let pan = 0.75 * self.dice.bipolar();
        self.pluck(note, force, pan);
    }

    fn pluck(&mut self, note: u8, force: f32, pan: f32) {
        let at = self.next_pluck;
        self.next_pluck = (at + 1) % self.plucks.len();
        self.plucks[at].strike(SAMPLE_RATE as f32, hertz(note), force, pan, &mut self.dice);
    }

    fn percussion(&mut self, section: &Section, beat: u64) {
        self.drums += 0.1 * (section.drums - self.drums);
        let level = self.drums;
        if level < 0.05 {
            return;
        }
        match beat % 16 {
            0 => self.drum.strike(level),
            10 => self.drum.strike(0.6 * level),
            4 | 12 => self.brushes[1].strike(0.55 * level, 16.0),
            _ => {}
        }
        if beat.is_multiple_of(2) || self.dice.unit() < 0.25 {
            let force = 0.16 + 0.16 * self.dice.unit();
            self.brushes[0].strike(force * level, 55.0);
        }
    }

    fn next(&mut self) -> (f32, f32) {
        let mut plucks = (0.0, 0.0);
        for pluck in &mut self.plucks {
            let (left, right) = pluck.next();
            plucks.0 += left;
            plucks.1 += right;
        }
        let pad = self.pad.next();
        let bass = self.bass.next();
        let drum = self.drum.next();
        let brush = {
            let a = self.brushes[0].next(&mut self.dice);
            let b = self.brushes[1].next(&mut self.dice);
            (a.0 + b.0, a.1 + b.1)
        };
        let echo = self.delay.next(plucks);
        let room = self.reverb.next((
            0.35 * plucks.0 + 0.3 * echo.0 + 0.05 * pad.0 + 0.15 * brush.0,
            0.35 * plucks.1 + 0.3 * echo.1 + 0.05 * pad.1 + 0.15 * brush.1,
        ));
        let mix = |pluck: f32, echo: f32, pad: f32, brush: f32, room: f32| {
            0.62 * pluck
                + 0.3 * echo
                + 0.052 * pad
                + 0.2 * bass
                + 0.5 * drum
                + 0.3 * brush
                + 0.36 * room
        };
        (
            limit(mix(plucks.0, echo.0, pad.0, brush.0, room.0)),
            limit(mix(plucks.1, echo.1, pad.1, brush.1, room.1)),
        )
    }
}

/// Straight up to 0.5, then bent so that nothing passes 0.9.
fn limit(x: f32) -> f32 {
    const KNEE: f32 = 0.5;
    const ROOM: f32 = 0.4;
    let over = x.abs() - KNEE;
    if over <= 0.0 {
        return x;
    }
    (KNEE + ROOM * over / (ROOM + over)).copysign(x)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn minutes(minutes: f32) -> Vec<f32> {
        let frames = (minutes * 60.0 * SAMPLE_RATE as f32) as usize;
        let mut out = vec![0.0; frames * 2];
        let mut synth = Synth::new(1);
        // Cut oddly: the outcome must not depend on it.
        for block in out.chunks_mut(2 * 1009) {
            synth.render(block);
        }
        out
    }

    #[test]
    fn it_is_music_with_headroom() {
        let out = minutes(1.7);
        let peak = out.iter().fold(0.0_f32, |peak, x| peak.max(x.abs()));
        assert!(out.iter().all(|x| x.is_finite()));
        assert!((0.3..=0.9).contains(&peak), "peak {peak}");
        // No silence once it has begun, and both sides differ.
        for second in out.chunks_exact(2 * SAMPLE_RATE as usize).skip(1) {
            let power = second.iter().map(|x| x * x).sum::<f32>() / second.len() as f32;
            assert!(power > 1e-4, "power {power}");
            let side = second
                .chunks_exact(2)
                .map(|s| (s[0] - s[1]).powi(2))
                .sum::<f32>();
            assert!(side / second.len() as f32 > 1e-6);
        }
        // The limiter bends peaks only; it must not shape the whole piece.
        let bent = out.iter().filter(|x| x.abs() > 0.5).count();
        assert!(bent * 50 < out.len(), "{bent} of {} bent", out.len());
        let mean = out.iter().sum::<f32>() / out.len() as f32;
        assert!(mean.abs() < 0.01, "offset {mean}");
    }

    #[test]
    fn it_is_deterministic_and_changes_its_title() {
        let mut once = vec![0.0; 4 * STEP as usize];
        let mut again = once.clone();
        Synth::new(7).render(&mut once);
        let mut synth = Synth::new(7);
        for block in again.chunks_mut(2 * 100) {
            synth.render(block);
        }
        assert_eq!(once, again);
        assert_eq!(synth.new_title(), Some("First Light"));
        assert_eq!(synth.new_title(), None);
        let mut block = vec![0.0; 2 * STEP as usize];
        let steps = CHORD_STEPS * SECTION_CHORDS;
        let titles: Vec<_> = (0..steps)
            .filter_map(|_| {
                synth.render(&mut block);
                synth.new_title()
            })
            .collect();
        assert_eq!(titles, ["Harbour Lamps"]);
    }
}
