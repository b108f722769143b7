//! Where one recording lies in another, and how much of it is left: for codecs
//! and telephone lines, whose output is never the same samples.

use super::Pcm;

/// Frames of the reference that are looked for.
const WINDOW: usize = 8192;

/// How a candidate lies to its reference.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Alignment {
    /// Frames by which the candidate is late.
    pub lag: i64,
    /// Normalised cross-correlation of all that both have, at that lag; 1 is
    /// the same wave.
    pub correlation: f64,
    /// Level of the candidate over the reference's, dB.
    pub level_db: f64,
    /// Frames of the candidate less frames of the reference.
    pub length_difference: i64,
}

/// Finds the first channel of `reference` in that of `candidate`, at most
/// `most` frames early or late.
///
/// # Panics
/// When the rates differ, or either is shorter than a third of a second.
#[must_use]
pub fn align(reference: &Pcm, candidate: &Pcm, most: usize) -> Alignment {
    assert_eq!(reference.sample_rate, candidate.sample_rate, "sample rates");
    let (r, c) = (reference.plane(0), candidate.plane(0));
    let window = WINDOW.min(r.len() / 2).min(c.len() / 2);
    assert!(
        window >= 1000,
        "{} and {} frames are too few",
        r.len(),
        c.len()
    );
    // From the middle, which has no beginning that a codec may soften.
    let at = r.len() / 2 - window / 2;
    let likeness = |lag: i64, step: usize| {
        let from = usize::try_from(at as i64 + lag).ok()?;
        let there = c.get(from..from + window)?;
        let wanted = r[at..at + window].iter().step_by(step);
        let there = there.iter().step_by(step);
        Some((lag, wanted.zip(there).map(|(a, b)| a * b).sum::<f32>()))
    };
    let best = |lags: &mut dyn Iterator<Item = i64>, step| {
        let found = lags.filter_map(|lag| likeness(lag, step));
        let found = found.max_by(|a, b| a.1.total_cmp(&b.1));
        found.map_or(0, |(lag, _)| lag)
    };
    // First every other lag and a few frames of each: tests are not optimised.
    let most = most as i64;
    let coarse = (reference.sample_rate as usize / 12_000).max(1);
    let near = best(&mut (-most..=most).step_by(2), coarse);
    // A neighbouring cycle of a tone looks much like the right one.
    let lag = best(&mut (near - 50..=near + 50), 1);
    let (skip_r, skip_c) = ((-lag).max(0) as usize, lag.max(0) as usize);
    let common = (r.len() - skip_r).min(c.len() - skip_c);
    let (a, b) = (&r[skip_r..skip_r + common], &c[skip_c..skip_c + common]);
    let (aa, bb) = (dot(a, a), dot(b, b));
    Alignment {
        lag,
        correlation: dot(a, b) / (aa * bb).sqrt().max(f64::MIN_POSITIVE),
        level_db: super::db(bb.max(1e-20) / aa.max(1e-20)),
        length_difference: c.len() as i64 - r.len() as i64,
    }
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter()
        .zip(b)
        .map(|(a, b)| f64::from(*a) * f64::from(*b))
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_and_quiet_copy_is_found() {
        let sweep = Pcm::sweep(8000, 200.0, 3000.0, 16_000);
        let mut copy = sweep.clone();
        copy.samples.iter_mut().for_each(|s| *s *= 0.5);
        copy.samples.splice(0..0, [0.0; 123]);
        let found = align(&sweep, &copy, 400);
        assert_eq!((found.lag, found.length_difference), (123, 123));
        assert!((found.level_db + 6.02).abs() < 0.01 && found.correlation > 0.999);
        // With a piece missing after the middle, half of it is elsewhere.
        copy.samples.drain(14_000..14_160);
        assert!(align(&sweep, &copy, 400).correlation < 0.95);
    }
}
