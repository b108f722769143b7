//! Seeks to where a programme ends.

use super::*;

#[test]
fn whoever_seeks_the_end_is_there_and_plays_nothing_unasked() {
    let (headers, pages) = opus_pages(3.0);
    let mut sim = Sim::new(Mode::Complete, Latency::fixed(300.0), RATE);
    let from = |sim: &mut Sim, index: usize, at: f64| {
        sim.engine.seek(
            sim.now,
            MediaTime::ZERO + MediaDuration::from_secs_f64(at),
            true,
        );
        sim.engine.config(3, Container::Ogg, &headers);
        for index in index..30 {
            sim.engine
                .push_chunk(sim.now, &framed(&pages, index, Flags::SYNC));
        }
        sim.engine.end_of_stream(sim.now);
        sim.advance(600);
        let told =
            |event| sim.count(|e| std::mem::discriminant(e) == std::mem::discriminant(&event));
        let told = (told(Event::CanPlay), told(Event::Ended));
        (told, sim.engine.current_time(sim.frame).as_secs_f64())
    };
    let end = 2.9935;
    let ((_, ended), at) = from(&mut sim, 27, 2.8);
    assert_eq!(ended, 1);
    assert!((at - end).abs() < 1e-3, "{at}");
    // It has ended, and plays again only when it is told to.
    let heard = sim.engine.heard_at(sim.frame);
    for (index, at, can_play) in [
        (29, end, 2),
        (29, end - 2e-5, 3),
        (29, 3.0, 4),
        (27, 2.8, 5),
    ] {
        let (told, now) = from(&mut sim, index, at);
        assert_eq!(told, (can_play, 1), "{at}");
        assert!((now - at.min(end)).abs() < 1e-3, "{now} for {at}");
    }
    assert_eq!(sim.engine.heard_at(sim.frame), heard);
    sim.engine.play(sim.now);
    sim.advance(600);
    assert_eq!(sim.count(|e| *e == Event::Ended), 2);
}
