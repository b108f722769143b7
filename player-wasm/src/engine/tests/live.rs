//! Listeners of live streams that have too much, or too little.

use super::*;

/// A live mount's listener at `latency: {max}` that was 1.4 s behind for a join's burst: what it heard.
fn late_listener(max_ms: f64, level: impl Fn(f32) -> f32, burst: usize) -> Sim {
    let (headers, pages) = opus_pages_of(12.0, level);
    let bound = Latency {
        min_ms: 0.0,
        max_ms,
    };
    let mut sim = Sim::new(Mode::Live, bound, RATE);
    sim.engine.set_stretch(0.0);
    sim.engine.config(3, Container::Ogg, &headers);
    for index in 0..pages.len() {
        sim.engine
            .push_chunk(sim.now, &framed(&pages, index, Flags::SYNC));
        sim.poll();
        if index >= burst {
            sim.advance(100);
        }
    }
    sim
}

#[test]
fn a_skip_takes_back_what_is_scheduled() {
    let sim = late_listener(300.0, |_| 0.5, 14);
    assert_eq!(sim.count(|e| matches!(e, Event::Skip { .. })), 1);
    assert_eq!(sim.count(|e| matches!(e, Event::Waiting { .. })), 0);
    let (from, to) = sim.engine.buffered(sim.frame);
    let held = to.since(from).as_secs_f64();
    assert!((0.0..0.3).contains(&held), "{held}");
    // 440 Hz at a half moves by 0.029 a frame; crossfaded, by no more than a little.
    let steps = sim.sound().windows(2).map(|w| (w[1] - w[0]).abs());
    let worst = steps.fold(0f32, f32::max);
    assert!(worst < 0.05, "{worst}");
}

#[test]
fn a_little_over_the_bound_is_left_out_where_it_is_quiet() {
    // Half a second of sound, half a second of silence.
    let gated = |t: f32| if t % 1.0 < 0.5 { 0.5 } else { 0.0 };
    let sim = late_listener(300.0, gated, 6);
    let skipped: f64 = sim
        .events
        .iter()
        .map(|e| match e {
            Event::Skip { from, to } => to.since(*from).as_secs_f64(),
            _ => 0.0,
        })
        .sum();
    assert!((0.2..0.5).contains(&skipped), "{skipped}");
    let (from, to) = sim.engine.buffered(sim.frame);
    let held = to.since(from).as_secs_f64();
    assert!((0.15..0.32).contains(&held), "{held}");
    // Of the sound nothing is missing: twelve halves of a second.
    let loud = sim.sound().iter().filter(|x| x.abs() > 0.01).count() as f64 / f64::from(RATE);
    assert!((loud - 5.9).abs() < 0.15, "{loud}");
}

#[test]
fn a_live_stream_short_of_margin_is_stretched_and_keeps_its_pitch() {
    let (headers, pages) = opus_pages(12.0);
    let mut sim = Sim::new(Mode::Live, Latency::AUTO, RATE);
    // The first page comes 200 ms after it was complete: a long path.
    sim.advance(300);
    sim.engine.push_bytes(sim.now, &headers);
    let mut level = Vec::new();
    for page in &pages {
        sim.engine.push_bytes(sim.now, page);
        sim.poll();
        let (from, to) = sim.engine.buffered(sim.frame);
        level.push(to.since(from).as_secs_f64());
        sim.advance(100);
    }
    assert_eq!(sim.count(|e| matches!(e, Event::Waiting { .. })), 0);
    // 5 % of some ten seconds more is held than at the start.
    let gained = level[level.len() - 1] - level[10];
    assert!((0.35..0.6).contains(&gained), "{gained} s, {level:?}");
    let moved = sim.engine.stats(sim.frame).stretched_frames as f64 / f64::from(RATE);
    assert!((moved - gained).abs() < 0.1, "{moved} s");
    let sound = &sim.sound()[9_600..];
    let crossings = sound.windows(2).filter(|w| w[0] < 0.0 && w[1] >= 0.0);
    let hz = crossings.count() as f64 / (sound.len() as f64 / f64::from(RATE));
    assert!((hz - 440.0).abs() < 2.0, "{hz} Hz");
    let steepest = |x: &[f32]| {
        x.windows(2)
            .map(|w| (w[1] - w[0]).abs())
            .fold(0.0, f32::max)
    };
    let plain = reference(&[headers, pages.concat()].concat());
    assert!(steepest(sound) < 1.1 * steepest(&plain[9_600..]), "click");
}
