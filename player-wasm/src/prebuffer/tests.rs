//! Hand-computed cases of the policy.

use super::*;

/// Feeds chunks (arrival, start, duration) into a stream requested at 0.
fn after(mode: Mode, latency: Latency, chunks: &[(f64, f64, f64)]) -> Prebuffer {
    let mut p = Prebuffer::new(mode, latency);
    p.on_request(0.0);
    for c in chunks {
        p.on_arrival(c.0, c.1, c.2);
    }
    p
}

/// The wall time at which `p` starts if nothing more happens, asked first at `now`.
fn start_time(p: &mut Prebuffer, mut now: f64, playhead: f64) -> f64 {
    for _ in 0..1_000 {
        match p.decide(now, playhead, false) {
            Decision::Start => return now,
            Decision::Wait { until_ms } if until_ms.is_finite() => now = until_ms,
            other => panic!("{other:?} at {now}"),
        }
    }
    panic!("no start by {now}");
}

fn rate(p: &mut Prebuffer, now: f64, playhead: f64) -> f64 {
    match p.decide(now, playhead, false) {
        Decision::Play { rate, .. } => rate,
        other => panic!("{other:?} at {now}"),
    }
}

#[test]
fn a_wire_starts_after_the_floor() {
    // Answer 0.7 ms, less than can be told from none: 10 + 0.5 · 0.7 = 10.35 ms.
    let mut p = after(
        Mode::Live,
        Latency::AUTO,
        &[(20.7, 0.0, 20.0), (40.7, 20.0, 20.0)],
    );
    assert!((start_time(&mut p, 40.7, 0.0) - 40.7).abs() < 0.01);
}

#[test]
fn one_large_page_is_no_margin() {
    // 1 s of media, complete after 1 s, here 150 ms later: path ≈ 1 and 10 + (250 + 2.5 · 100) + 75 = 585 ms
    // of margin are wanted, although 1 s is held.
    let mut p = after(Mode::Live, Latency::AUTO, &[(1150.0, 0.0, 1000.0)]);
    assert!((start_time(&mut p, 1150.0, 0.0) - 1735.0).abs() < 0.1);
}

#[test]
fn a_burst_at_the_join_starts_at_once() {
    let mut p = after(Mode::Live, Latency::AUTO, &[(200.0, 0.0, 1000.0)]);
    assert_eq!(p.decide(200.0, 0.0, false), Decision::Start);
}

#[test]
fn an_ended_stream_starts_at_once() {
    let mut p = after(
        Mode::Complete,
        Latency::fixed(5_000.0),
        &[(600.0, 0.0, 20.0)],
    );
    assert!(matches!(p.decide(600.0, 0.0, false), Decision::Wait { .. }));
    p.on_end_of_stream(600.0);
    assert_eq!(p.decide(600.0, 0.0, false), Decision::Start);
}

#[test]
fn nothing_starts_in_the_middle_of_a_drought() {
    // One chunk every 20 ms, the last one at 280; the next is due at 300.
    let chunks: Vec<_> = (0..10)
        .map(|k| (100.0 + f64::from(k) * 20.0, f64::from(k) * 20.0, 20.0))
        .collect();
    let mut p = after(Mode::Live, Latency::AUTO, &chunks);
    // Margin wanted: 10 + (250 + 2.5 · 20) · (1 − exp(−79/15)) + 0.5 · 80 = 348.6, and as much again as the chunk is late.
    for now in [300.0, 449.0, 700.0, 1_000.0, 1_440.0] {
        assert!(
            matches!(p.clone().decide(now, 0.0, false), Decision::Wait { .. }),
            "at {now}"
        );
    }
    // A second late, it is not waited for any longer: 100 + 348.6 + 1000.
    assert!((start_time(&mut p.clone(), 1_440.0, 0.0) - 1_448.6).abs() < 2.0);
    // When it comes, late by 800 ms and with all that followed it, that is the spread.
    for k in 10..51 {
        p.on_arrival(1_100.0, f64::from(k) * 20.0, 20.0);
    }
    p.on_arrival(1_120.0, 1_020.0, 20.0);
    let spread = p.stats().spread_ms;
    assert!((775.0..=800.0).contains(&spread), "{spread}");
    // 100 + 348.6 + 800.
    assert!((start_time(&mut p, 1_120.0, 0.0) - 1_248.6).abs() < 2.0);
}

#[test]
fn a_fixed_latency_is_held_media() {
    // 20 ms chunks at real time on a slow path: 100 ms are held when the fifth chunk is there.
    let mut p = Prebuffer::new(Mode::Live, Latency::fixed(100.0));
    p.on_request(0.0);
    for k in 0..4 {
        let now = 80.0 + f64::from(k) * 20.0;
        p.on_arrival(now, f64::from(k) * 20.0, 20.0);
        assert!(
            matches!(p.decide(now, 0.0, false), Decision::Wait { .. }),
            "chunk {k}"
        );
    }
    p.on_arrival(160.0, 80.0, 20.0);
    assert_eq!(p.decide(160.0, 0.0, false), Decision::Start);
    assert_eq!(p.target(), 100.0);
}

#[test]
fn a_slow_stream_of_known_length_starts_when_it_will_last() {
    // 20 s at r = 0.8, 100 ms chunks: the earliest gapless start is 199 · 25 = 4975 ms after the first.
    let mut p = Prebuffer::new(Mode::Complete, Latency::AUTO);
    p.on_request(0.0);
    p.set_total(Some(20_000.0));
    let mut start = None;
    for k in 0..200 {
        let now = 200.0 + f64::from(k) * 125.0;
        p.on_arrival(now, f64::from(k) * 100.0, 100.0);
        if start.is_none() && p.decide(now, 0.0, false) == Decision::Start {
            start = Some(now - 200.0);
        }
    }
    let start = start.expect("starts");
    assert!((4_975.0..6_200.0).contains(&start), "{start}");
}

#[test]
fn an_underrun_is_followed_by_a_new_prebuffer() {
    let chunks: Vec<_> = (0..50)
        .map(|k| (100.0 + f64::from(k) * 20.0, f64::from(k) * 20.0, 20.0))
        .collect();
    let mut p = after(Mode::Live, Latency::AUTO, &chunks);
    p.on_playing(500.0, 0.0);
    p.on_underrun(1_500.0);
    // The next chunk was due at 1100 and comes at 1600: spread 500. A crumb of 20 ms does not start output:
    // 80 ms over the newest page are asked for.
    p.on_arrival(1_600.0, 1_000.0, 20.0);
    assert!((start_time(&mut p.clone(), 1_600.0, 1_000.0) - 1_680.0).abs() < 0.1);
    // The rest of the backlog comes at once: the base is back, margin 500 > 10 + 0.3 · 500.
    for k in 51..76 {
        p.on_arrival(1_601.0, f64::from(k) * 20.0, 20.0);
    }
    p.on_arrival(1_620.0, 1_520.0, 20.0);
    assert_eq!(p.decide(1_620.0, 1_000.0, false), Decision::Start);
    assert_eq!(p.stats().underruns, 1);
}

#[test]
fn short_of_margin_it_slows_within_the_option() {
    let chunks: Vec<_> = (0..50)
        .map(|k| (150.0 + f64::from(k) * 100.0, f64::from(k) * 100.0, 100.0))
        .collect();
    let mut p = after(Mode::Complete, Latency::AUTO, &chunks);
    p.on_playing(450.0, 0.0);
    // Margin 300, then 100, of 10 + 500 · (1 − exp(−49/15)) = 491 wanted: music keeps its pitch.
    let now = 150.0 + 49.0 * 100.0;
    assert_eq!(rate(&mut p, now, now - 450.0), 1.0);
    assert_eq!(rate(&mut p, now, now - 250.0), 1.0);
    // With time-stretch 1456 are wanted.
    p.set_stretch(0.05);
    assert_eq!(rate(&mut p, now, now - 450.0), 0.95);
    p.set_stretch(0.5);
    assert_eq!(rate(&mut p, now, now - 450.0), 0.95);
    // Margin 4 s: nobody hurries.
    assert_eq!(rate(&mut p, now, now - 4_150.0), 1.0);
}

#[test]
fn a_bound_below_the_burst_is_met_by_one_skip_to_what_is_wanted() {
    let bounds = Latency {
        min_ms: 0.0,
        max_ms: 100.0,
    };
    let mut p = Prebuffer::new(Mode::Live, bounds);
    p.set_stretch(0.0);
    p.on_request(0.0);
    for k in 0..100 {
        p.on_arrival(1.0, f64::from(k) * 20.0, 20.0);
    }
    assert_eq!(p.decide(1.0, 0.0, false), Decision::Start);
    p.on_playing(1.0, 0.0);
    let (mut playhead, mut skips) = (0.0, 0);
    for k in 100..1_000 {
        let now = 21.0 + f64::from(k - 100) * 20.0;
        p.on_arrival(now, f64::from(k) * 20.0, 20.0);
        match p.decide(now, playhead, false) {
            Decision::Skip { to_ms } => (playhead, skips) = (to_ms, skips + 1),
            Decision::Play { rate, .. } => assert_eq!(rate, 1.0, "chunk {k}"),
            other => panic!("{other:?}"),
        }
        playhead += 20.0;
    }
    // Held: the chunk that has just come and the floor of 10 ms.
    assert_eq!(skips, 1);
    let held = 20_000.0 - (playhead - 20.0);
    assert!((20.0..=60.0).contains(&held), "{held}");
}

#[test]
fn what_comes_fast_is_neither_skipped_nor_hurried() {
    // Four times real time for ten minutes of media, then a pause of a minute and some more: a file or speech.
    let mut p = Prebuffer::new(Mode::Live, Latency::AUTO);
    p.set_stretch(0.0);
    p.on_request(0.0);
    p.on_arrival(100.0, 0.0, 100.0);
    p.on_arrival(125.0, 100.0, 100.0);
    p.on_playing(125.0, 0.0);
    for k in 2..6_000 {
        let now = 100.0 + f64::from(k) * 25.0;
        p.on_arrival(now, f64::from(k) * 100.0, 100.0);
        assert_eq!(rate(&mut p, now, now - 125.0), 1.0, "chunk {k}");
    }
    p.on_underrun(600_125.0);
    p.on_playing(660_125.0, 600_000.0);
    for k in 0..500 {
        let now = 660_125.0 + f64::from(k) * 50.0;
        p.on_arrival(now, 600_000.0 + f64::from(k) * 100.0, 100.0);
        assert!(rate(&mut p, now, now - 60_125.0) <= 1.0, "chunk {k}");
    }
}

/// Plays 100 ms chunks of a live programme at real time for so long; the playhead moves as told.
/// Returns every rate and where the playhead was in the end.
fn played(p: &mut Prebuffer, chunks: std::ops::Range<u32>, mut playhead: f64) -> (Vec<f64>, f64) {
    let mut rates = Vec::new();
    for k in chunks {
        let now = 150.0 + f64::from(k) * 100.0;
        p.on_arrival(now, f64::from(k) * 100.0, 100.0);
        let rate = rate(p, now, playhead);
        playhead += 100.0 * rate;
        rates.push(rate);
    }
    (rates, playhead)
}

#[test]
fn a_burst_at_the_join_is_kept_and_played_as_it_is() {
    // 2 s at once, or 30 s because the listener asked for them; then real time.
    for burst in [20u32, 300] {
        let mut p = Prebuffer::new(Mode::Live, Latency::AUTO);
        p.set_stretch(0.0);
        p.on_request(0.0);
        for k in 0..burst {
            p.on_arrival(50.0, f64::from(k) * 100.0, 100.0);
        }
        assert_eq!(p.decide(50.0, 0.0, false), Decision::Start);
        p.on_playing(50.0, 0.0);
        let mut playhead = 0.0;
        for k in 0..36_000u32 {
            let now = 150.0 + f64::from(k) * 100.0 + f64::from(k * 7_919 % 13);
            p.on_arrival(now, f64::from(k + burst) * 100.0, 100.0);
            assert_eq!(rate(&mut p, now, now - 50.0), 1.0, "chunk {k}");
            playhead = now - 50.0;
        }
        // An outage of 3 s, and what it added is worked off.
        p.on_underrun(playhead);
        p.on_playing(playhead + 3_000.0, playhead);
        let mut behind = 3_050.0;
        let mut fastest = 1f64;
        for k in 36_000..50_000u32 {
            let now = 150.0 + f64::from(k.max(36_030)) * 100.0;
            p.on_arrival(now, f64::from(k + burst) * 100.0, 100.0);
            let rate = rate(&mut p, now, now - behind);
            behind -= 100.0 * (rate - 1.0);
            fastest = fastest.max(rate);
        }
        assert_eq!(fastest, 1.005);
        assert!((behind - 50.0).abs() < 20.0, "{behind}");
    }
}

#[test]
fn live_skips_only_far_beyond_its_bound() {
    let chunks: Vec<_> = (0..50)
        .map(|k| (150.0 + f64::from(k) * 100.0, f64::from(k) * 100.0, 100.0))
        .collect();
    let mut p = after(
        Mode::Live,
        Latency {
            min_ms: 0.0,
            max_ms: 500.0,
        },
        &chunks,
    );
    p.on_playing(450.0, 0.0);
    // Margin wanted: 500 − the page of 100 = 400. Playhead 900 ms behind the base: 500 over, work it off.
    let now = 150.0 + 49.0 * 100.0;
    let (rates, playhead) = played(&mut p.clone(), 50..6_000, now - 150.0 - 900.0);
    assert_eq!(rates.iter().fold(0f64, |a, b| a.max(*b)), 1.005);
    let margin = 6_000.0 * 100.0 - playhead;
    assert!((margin - 400.0).abs() < 21.0, "{margin}");
    // 1600 behind: 1200 over, skip exactly those.
    let playhead = now - 150.0 - 1_600.0;
    assert_eq!(
        p.decide(now, playhead, false),
        Decision::Skip {
            to_ms: playhead + 1_200.0
        }
    );
    // The same in complete mode: never.
    let mut p = after(
        Mode::Complete,
        Latency {
            min_ms: 0.0,
            max_ms: 500.0,
        },
        &chunks,
    );
    p.on_playing(450.0, 0.0);
    assert_eq!(rate(&mut p, now, playhead), 1.0);
}

#[test]
fn a_hole_is_no_margin() {
    // 20 ms chunks at real time; after 2 s the programme jumps by 5 s.
    let chunk = |k: u32| {
        (
            150.0 + f64::from(k) * 20.0,
            f64::from(k) * 20.0 + if k < 100 { 0.0 } else { 5_000.0 },
            20.0,
        )
    };
    let chunks: Vec<_> = (0..110).map(chunk).collect();
    let bounds = Latency {
        min_ms: 0.0,
        max_ms: 400.0,
    };
    let mut p = after(Mode::Live, bounds, &chunks);
    p.on_playing(550.0, 0.0);
    let now = 150.0 + 109.0 * 20.0;
    // 400 ms behind on either side of the hole: neither skips nor hurries.
    assert!((rate(&mut p.clone(), now, 1_780.0) - 1.0).abs() < 0.001);
    assert_eq!(p.stats().spread_ms, 0.0);
    let now = now + 300.0;
    for k in 110..125 {
        let c = chunk(k);
        p.on_arrival(c.0, c.1, c.2);
    }
    assert!((rate(&mut p, now, 7_080.0) - 1.0).abs() < 0.001);
}

#[test]
fn nonsense_is_ignored() {
    let mut p = Prebuffer::new(Mode::Live, Latency::AUTO);
    for (now, start, duration) in [
        (f64::NAN, 0.0, 20.0),
        (0.0, f64::INFINITY, 20.0),
        (0.0, 0.0, -1.0),
        (0.0, 0.0, 0.0),
        (0.0, 0.0, f64::NAN),
    ] {
        p.on_arrival(now, start, duration);
    }
    assert_eq!(
        p.decide(0.0, 0.0, false),
        Decision::Wait {
            until_ms: f64::INFINITY
        }
    );
    assert_eq!(p.stats(), Stats::default());
}

#[test]
fn a_pause_that_must_come_is_placed_at_silence() {
    // r = 0.5, nothing known of the end, 400 ms held.
    let chunks: Vec<_> = (0..50)
        .map(|k| (200.0 + f64::from(k) * 200.0, f64::from(k) * 100.0, 100.0))
        .collect();
    let mut p = after(Mode::Complete, Latency::AUTO, &chunks);
    p.on_playing(5_000.0, 0.0);
    assert_eq!(rate(&mut p, 10_000.0, 4_600.0), 1.0);
    assert_eq!(p.decide(10_000.0, 4_600.0, true), Decision::Stall);
    assert!(matches!(
        p.decide(10_000.0, 2_000.0, true),
        Decision::Play { .. }
    ));
}

#[test]
fn a_live_latency_holds_for_two_hours_of_drift() {
    // 20 ms chunks whose source is 200 ppm fast, a fixed latency of 500 ms, the playhead moved as told.
    for ppm in [-200.0, 200.0] {
        let mut p = Prebuffer::new(Mode::Live, Latency::fixed(500.0));
        p.on_request(0.0);
        let (mut playhead, mut rate, mut worst) = (0.0, 1.0, 0f64);
        let mut last = 0.0;
        let mut playing = false;
        for k in 0..360_000u32 {
            let media = f64::from(k) * 20.0;
            let now = 50.0 + media / (1.0 + ppm * 1e-6) + f64::from(k * 7_919 % 13) * 0.5;
            if playing {
                playhead += (now - last) * rate;
            }
            last = now;
            p.on_arrival(now, media, 20.0);
            match p.decide(now, playhead, false) {
                Decision::Start => {
                    playing = true;
                    p.on_playing(now, playhead);
                }
                Decision::Play { rate: r, .. } => rate = r,
                Decision::Wait { .. } => {}
                other => panic!("{other:?}"),
            }
            if playing {
                worst = worst.max((media + 20.0 - playhead - 500.0).abs());
            }
        }
        assert!(worst < 20.0, "{ppm} ppm: {worst} ms off");
        assert!(
            (p.stats().drift_ppm - ppm).abs() < 30.0,
            "{ppm}: {}",
            p.stats().drift_ppm
        );
    }
}
