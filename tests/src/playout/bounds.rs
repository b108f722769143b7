//! What no player can do that does not know the future.
//!
//! Two traces that begin alike are one and the same to a player until they part: a start before
//! that falls at the same time in both. So whoever is to be gapless on the worse one pays on the
//! better one, and this is how much at least.

use super::model::Trace;

/// When the traces can first be told apart, after the first arrival.
pub fn part(a: &Trace, b: &Trace) -> f64 {
    let first = a.chunks.first().map_or(0.0, |c| c.arrival);
    let differ = a.chunks.iter().zip(&b.chunks).find(|(a, b)| a != b);
    let at = match differ {
        Some((a, b)) => a.arrival.min(b.arrival),
        None => a.end.min(b.end),
    };
    at - first
}

/// The earliest start after the first arrival that is gapless with all the slowing there may be, from the
/// first frame on: at `1 − stretch`, chunk `i` is reached `(startᵢ − start₀) / (1 − stretch)` after the start.
pub fn earliest_start(trace: &Trace, stretch: f64) -> f64 {
    let Some(first) = trace.chunks.first() else {
        return 0.0;
    };
    trace
        .chunks
        .iter()
        .map(|c| c.arrival - first.arrival - (c.start - first.start) / (1.0 - stretch))
        .fold(0.0, f64::max)
}

/// Start delay over the optimum on `good` that every player has which is gapless on `bad`.
pub fn price(good: &Trace, bad: &Trace, stretch: f64) -> f64 {
    earliest_start(bad, stretch).min(part(good, bad)) - good.oracle_delay()
}

#[cfg(test)]
mod tests {
    use super::super::model::Chunk;
    use super::*;

    /// Chunks of `duration` that come at these times.
    fn trace(duration: f64, arrivals: impl IntoIterator<Item = f64>) -> Trace {
        let chunks: Vec<Chunk> = arrivals
            .into_iter()
            .enumerate()
            .map(|(k, arrival)| Chunk {
                arrival,
                start: k as f64 * duration,
                duration,
            })
            .collect();
        Trace {
            name: String::new(),
            end: chunks.last().map_or(0.0, |c| c.arrival),
            chunks,
        }
    }

    /// Speech in chunks of 100 ms, first heard of after 600 ms, at `speed`, silent for `pause` before chunk 13.
    fn speech(chunks: u32, speed: f64, pause: f64) -> Trace {
        trace(
            100.0,
            (0..chunks).map(|k| {
                let paused = if k >= 13 { pause } else { 0.0 };
                600.0 + f64::from(k) * 100.0 / speed + paused
            }),
        )
    }

    /// Wi-Fi in chunks of 20 ms: calm, but for one delay of `delay` ms from chunk `at` on.
    fn wifi(at: u32, delay: f64) -> Trace {
        trace(
            20.0,
            (0..3_000).map(|k| {
                let waited = (delay - 20.0 * (f64::from(k) - f64::from(at))).max(0.0);
                let late = if k >= at { waited } else { 0.0 };
                20.0 + 20.0 * f64::from(k) + late
            }),
        )
    }

    #[test]
    fn a_player_that_knew_the_future_pays_nothing() {
        let one = wifi(1_000, 200.0);
        assert_eq!(earliest_start(&one, 0.0), one.oracle_delay());
        assert_eq!(price(&one, &one, 0.0), 0.0);
    }

    #[test]
    fn fast_speech_within_30_ms_gaps_in_short_utterances_made_slower() {
        // One page says nothing of the speed: until the second one, 2 × real time is 0.8 ×.
        let (fast, slow) = (speech(40, 2.0, 0.0), speech(10, 0.8, 0.0));
        assert_eq!(fast.oracle_delay(), 0.0);
        assert!((earliest_start(&slow, 0.05) - 177.6).abs() < 0.1);
        assert_eq!(price(&fast, &slow, 0.05), 50.0);
    }

    #[test]
    fn fast_speech_within_30_ms_gaps_where_the_text_is_late() {
        // 1.3 s of speech, made in 0.65 s. The next sentence comes 0.2 s later, or 1.6 s.
        let (usual, late) = (speech(60, 2.0, 200.0), speech(60, 2.0, 1_600.0));
        assert_eq!(usual.oracle_delay(), 0.0);
        assert!((earliest_start(&late, 0.05) - 881.6).abs() < 0.1);
        assert!((price(&usual, &late, 0.05) - 850.0).abs() < 0.1);
    }

    #[test]
    fn wifi_within_200_ms_of_the_optimum_gaps_in_a_drought_after_a_calm_start() {
        // 600 ms without a stir, then nothing for 590 ms; or calm until 200 ms are lacking much later.
        let (usual, drought) = (wifi(1_000, 200.0), wifi(30, 590.0));
        assert!((earliest_start(&drought, 0.05) - 558.4).abs() < 0.1);
        assert!((price(&usual, &drought, 0.05) - 358.4).abs() < 0.1);
    }
}
