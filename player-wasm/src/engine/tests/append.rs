//! Streams that are appended one behind the other.

use super::*;

#[test]
fn a_stream_appended_before_the_end_is_heard_follows_without_a_seam() {
    let (headers, pages) = opus_pages(2.0);
    let bytes = [headers, pages.concat()].concat();
    let one = reference(&bytes);
    let want = [one.clone(), one].concat();
    // At once, while it plays, and when all of it has long been decoded.
    for later in [0, 1_000, 1_900] {
        let mut sim = Sim::new(Mode::Complete, Latency::AUTO, RATE);
        sim.engine.push_bytes(0.0, &bytes);
        sim.engine.end_of_stream(0.0);
        sim.poll();
        sim.advance(later);
        // Its second half is late, which is no end.
        let (first, second) = bytes.split_at(bytes.len() / 2);
        sim.engine.push_bytes(sim.now, first);
        sim.poll();
        sim.advance(500);
        sim.engine.push_bytes(sim.now, second);
        sim.engine.end_of_stream(sim.now);
        sim.advance(5_000);
        assert_eq!(trimmed(&sim.heard), trimmed(&want), "{later} ms later");
        assert_eq!(sim.count(|e| *e == Event::Ended), 1, "{later} ms later");
        assert_eq!(sim.count(|e| matches!(e, Event::Waiting { .. })), 0);
    }
}

#[test]
fn what_comes_after_an_end_is_waited_for_as_at_first() {
    let (headers, pages) = opus_pages(4.0);
    let mut sim = Sim::new(Mode::Complete, Latency::AUTO, RATE);
    sim.engine
        .push_bytes(0.0, &[&headers[..], &pages[0]].concat());
    sim.engine.end_of_stream(0.0);
    sim.poll();
    // Twice as slow as real time: a stream that may pause must not begin on its first page.
    sim.engine.push_bytes(sim.now, &headers);
    for page in &pages[1..20] {
        sim.advance(200);
        sim.engine.push_bytes(sim.now, page);
        sim.poll();
    }
    assert!(sim.count(|e| matches!(e, Event::Waiting { .. })) <= 2);
}
