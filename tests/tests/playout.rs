//! The prebuffer's promises, on seeded traces of many kinds of networks and speech.

use tests::playout::cli::Options;
use tests::playout::generate::{self, Generated, Kind};
use tests::playout::model::{Event, Outcome, Trace, run};
use tests::playout::peers::Threshold;
use tests::playout::report::Summary;

fn options(g: &Generated) -> Options {
    let mode = match g.kind {
        Kind::Live => "live",
        Kind::Speech => "tts",
        Kind::File => "file",
    };
    Options::for_mode(Some(mode)).expect("a mode")
}

fn decisions(options: &Options, trace: &Trace) -> (Vec<(f64, Event)>, Outcome) {
    let mut events = Vec::new();
    let outcome = run(&mut options.core(), trace, &mut |t, e| events.push((t, e)));
    (events, outcome)
}

#[test]
fn everything_is_played_and_nothing_dropped() {
    for g in generate::all(11) {
        let (events, outcome) = decisions(&options(&g), &g.trace);
        assert!(
            matches!(events.first(), Some((_, Event::Start))),
            "{}",
            g.trace.name
        );
        assert_eq!(
            (outcome.dropped, outcome.skips),
            (0.0, 0),
            "{}",
            g.trace.name
        );
        // Played to the end: what was not silence or slow playing is the media's own length.
        let rate = |e: &(f64, Event)| match e.1 {
            Event::Rate(rate) => rate,
            _ => 1.0,
        };
        assert!(
            events
                .iter()
                .map(rate)
                .all(|r| (0.95 - 1e-9..=1.05 + 1e-9).contains(&r)),
            "{}",
            g.trace.name
        );
        let total = g.trace.total();
        let fastest = total / 1.005 - 1.0;
        assert!(
            outcome.end - outcome.start_delay - g.trace.chunks[0].arrival >= fastest,
            "{}: cut short",
            g.trace.name
        );
    }
}

#[test]
fn files_and_speech_are_never_hurried() {
    for g in generate::all(12).iter().filter(|g| g.kind != Kind::Live) {
        let (events, _) = decisions(&options(g), &g.trace);
        assert!(
            events
                .iter()
                .all(|(_, e)| !matches!(e, Event::Rate(r) if *r > 1.0)),
            "{}",
            g.trace.name
        );
    }
}

#[test]
fn decisions_know_nothing_of_the_future() {
    for g in generate::all(13).iter().filter(|g| g.group != "drift") {
        let k = g.trace.chunks.len() / 3;
        if k == 0 {
            continue;
        }
        let at = g.trace.chunks[k].arrival;
        let mut late = g.trace.clone();
        for c in &mut late.chunks[k..] {
            c.arrival += 5_000.0;
        }
        late.end += 5_000.0;
        let mut cut = g.trace.clone();
        cut.chunks.truncate(k);
        cut.end = at + 5_000.0;
        let before = |t: &Trace| {
            let (mut events, _) = decisions(&options(g), t);
            events.retain(|(t, _)| *t < at - 0.001);
            events
        };
        let real = before(&g.trace);
        assert_eq!(before(&late), real, "{}: later chunks", g.trace.name);
        assert_eq!(before(&cut), real, "{}: no later chunks", g.trace.name);
    }
}

#[test]
fn a_wire_starts_at_once_and_never_gaps() {
    for g in generate::all(14).iter().filter(|g| g.group == "wire") {
        let (_, outcome) = decisions(&options(g), &g.trace);
        assert_eq!(outcome.underruns, 0, "{}", g.trace.name);
        assert!(
            outcome.start_delay < 40.0,
            "{}: {} ms",
            g.trace.name,
            outcome.start_delay
        );
    }
}

#[test]
fn two_hours_of_drift_never_gap() {
    for g in generate::all(15).iter().filter(|g| g.group == "drift") {
        let (_, outcome) = decisions(&options(g), &g.trace);
        assert_eq!(outcome.underruns, 0, "{}", g.trace.name);
    }
}

#[test]
fn it_costs_less_than_waiting_for_a_second() {
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for g in generate::all(16) {
        ours.push(decisions(&options(&g), &g.trace).1);
        theirs.push(run(
            &mut Threshold::again(1_000.0),
            &g.trace,
            &mut |_, _| {},
        ));
    }
    let (ours, theirs) = (Summary::of(&ours), Summary::of(&theirs));
    assert!(
        ours.cost < 0.75 * theirs.cost,
        "{} against {}",
        ours.cost,
        theirs.cost
    );
    assert!(
        ours.gapless > theirs.gapless + 5.0,
        "{} % against {} %",
        ours.gapless,
        theirs.gapless
    );
    assert!(ours.over < 150.0, "{} ms over the optimum", ours.over);
}
