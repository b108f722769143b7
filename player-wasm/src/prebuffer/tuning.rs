//! The constants of the policy, each with its reason.

/// Constants of the policy. [`Tuning::DEFAULT`] is what ships; other values serve measurements
/// (how much each constant matters is tabled in `docs/playout/results.md`).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tuning {
    /// Margin that no start goes without, ms: a timer tick and the jitter of a wire.
    pub floor_ms: f64,
    /// Answer time, ms, at which a path is two thirds of the way from "a wire" to "a radio or a long
    /// path". Wires answer in about 1 ms, radio links and other continents in tens.
    pub wire_ms: f64,
    /// Margin at the first start on a path that is no wire, ms. Covers one lost segment: TCP's
    /// retransmission timeout is at least 200 ms on the common systems, plus a round trip. Twice as
    /// much without time-stretch, which could add to it later.
    pub start_ms: f64,
    /// Further margin at the first start per ms of page, up to 100 ms. A page is as late as the latest of its
    /// packets, so larger ones are later; and nobody sends large ones where latency is at a premium.
    pub per_page: f64,
    /// Further margin at the first start per ms of answer time (capped at 1 s). A slow answer is a long
    /// path or a server that computes: both deliver less evenly.
    pub per_answer: f64,
    /// Share of the measured spread added at the first start. 1: the next delay is as long as the worst so far.
    pub start_spread: f64,
    /// The same for a start after an underrun. Less, because the pause itself has already bought margin
    /// and each further ms is silence inside the programme.
    pub restart_spread: f64,
    /// Margin over the newest page at a start after an underrun, ms: more than the first crumb must be there.
    pub restart_ms: f64,
    /// Margin to be reached while playing, on a path that is no wire, ms. Mobile outages of one to two
    /// seconds come without warning; stretching makes room for them without anyone waiting.
    pub play_ms: f64,
    /// Share of the measured spread added while playing.
    pub play_spread: f64,
    /// Longest wait for a second page, ms. One page shows no rate.
    pub second_page_ms: f64,
    /// Expected rest of a programme of unknown length, ms: a spoken paragraph ...
    pub rest_ms: f64,
    /// ... plus this much per ms heard so far (what has lasted, lasts).
    pub rest_per_heard: f64,
    /// Trends smaller than this are real time.
    pub flat: f64,
    /// Longest lead collected before the first start when the length is unknown, ms.
    pub lead_ms: f64,
    /// Longest lead collected in one pause later, ms. Pauses cost their length twice if the end comes
    /// sooner, and their number if it does not: few and long, but bounded.
    pub pause_ms: f64,
}

impl Tuning {
    /// What ships.
    pub const DEFAULT: Self = Self {
        floor_ms: 10.0,
        wire_ms: 15.0,
        start_ms: 250.0,
        per_page: 2.5,
        per_answer: 0.5,
        start_spread: 1.0,
        restart_spread: 0.3,
        restart_ms: 80.0,
        play_ms: 1_500.0,
        play_spread: 1.0,
        second_page_ms: 500.0,
        rest_ms: 20_000.0,
        rest_per_heard: 3.0,
        flat: 0.05,
        lead_ms: 12_000.0,
        pause_ms: 2_000.0,
    };

    /// Names of the constants, in order, for sweeps.
    pub const NAMES: [&'static str; 16] = [
        "floor_ms",
        "wire_ms",
        "start_ms",
        "per_page",
        "per_answer",
        "start_spread",
        "restart_spread",
        "restart_ms",
        "play_ms",
        "play_spread",
        "second_page_ms",
        "rest_ms",
        "rest_per_heard",
        "flat",
        "lead_ms",
        "pause_ms",
    ];

    /// The constant of that index in [`Tuning::NAMES`].
    pub fn field(&mut self, index: usize) -> Option<&mut f64> {
        Some(match index {
            0 => &mut self.floor_ms,
            1 => &mut self.wire_ms,
            2 => &mut self.start_ms,
            3 => &mut self.per_page,
            4 => &mut self.per_answer,
            5 => &mut self.start_spread,
            6 => &mut self.restart_spread,
            7 => &mut self.restart_ms,
            8 => &mut self.play_ms,
            9 => &mut self.play_spread,
            10 => &mut self.second_page_ms,
            11 => &mut self.rest_ms,
            12 => &mut self.rest_per_heard,
            13 => &mut self.flat,
            14 => &mut self.lead_ms,
            15 => &mut self.pause_ms,
            _ => return None,
        })
    }
}
