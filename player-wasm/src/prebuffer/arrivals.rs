//! What the arrivals say: base lateness, spread, bursts, delivery rate.
//!
//! The *lateness* of a chunk is `x = arrival − media start`. It subtracts two
//! clocks, so only differences of it mean anything. A player with
//! `now − playhead ≥ x` for every chunk never runs dry; everything here estimates
//! how large `x` may yet become.
//!
//! Chunks that were written together form a *page*. A page's lateness is that of
//! its first chunk: the rest of a large page is no margin, because the next page
//! comes only when this one has been played.

use super::histogram::Histogram;

/// Blocks of history kept: enough for a first and a last quarter of several blocks each.
const BLOCKS: usize = 16;
/// First block length, media ms: a trend can be seen after two or three speech chunks ...
const FIRST_BLOCK_MS: f64 = 125.0;
/// ... doubled whenever the history is full up to this: then the history spans about a minute.
const LAST_BLOCK_MS: f64 = 4_000.0;
/// Chunks following each other faster than this part of their own length were written together.
const SAME_PAGE: f64 = 1.0 / 8.0;
/// Trends are shrunk as if this much trendless media had been seen before.
const PRIOR_SPAN_MS: f64 = 100.0;
/// Most that a chunk counts which is due but has not come, ms: after that the source may as well have
/// fallen silent without saying so, and what is there gets played.
const DROUGHT_MS: f64 = 1_000.0;
/// Media time after which a lateness counts half.
const HALF_LIFE_MS: f64 = 30_000.0;

/// A position and the lateness seen there.
#[derive(Clone, Copy, Debug, Default)]
struct Point {
    at: f64,
    late: f64,
}

/// Extremes of lateness over a stretch of media.
#[derive(Clone, Copy, Debug, Default)]
struct Block {
    start: f64,
    /// The page that was earliest.
    low: Point,
    /// The chunk that was earliest, inside pages too.
    lowest_chunk: f64,
    /// The page that was latest.
    high: Point,
}

impl Block {
    fn merge(&mut self, later: Self) {
        if later.low.late < self.low.late {
            self.low = later.low;
        }
        if later.high.late > self.high.late {
            self.high = later.high;
        }
        self.lowest_chunk = self.lowest_chunk.min(later.lowest_chunk);
    }
}

/// Streaming statistics of one stream's arrivals, in constant memory.
#[derive(Clone, Debug)]
pub(super) struct Arrivals {
    blocks: [Block; BLOCKS],
    used: usize,
    block_ms: f64,
    pages: u32,
    page: Point,
    first: Point,
    first_duration: f64,
    last_at: f64,
    head: f64,
    burst: f64,
    /// The first page was made before it was asked for.
    backlog: bool,
    peak: f64,
    lateness: Histogram,
}

impl Arrivals {
    /// Nothing seen yet.
    pub(super) fn new() -> Self {
        Self {
            blocks: [Block::default(); BLOCKS],
            used: 0,
            block_ms: FIRST_BLOCK_MS,
            pages: 0,
            page: Point::default(),
            first: Point::default(),
            first_duration: 0.0,
            last_at: f64::NEG_INFINITY,
            head: 0.0,
            burst: 0.0,
            backlog: false,
            peak: 0.0,
            lateness: Histogram::new(HALF_LIFE_MS),
        }
    }

    /// Forgets positions (a seek, a resume elsewhere) and keeps the spread.
    pub(super) fn restart(&mut self) {
        *self = Self {
            burst: self.burst,
            peak: self.peak,
            lateness: self.lateness.clone(),
            ..Self::new()
        };
    }

    /// Adds a chunk; chunks come in media order.
    pub(super) fn add(&mut self, now: f64, start: f64, duration: f64) {
        let late = now - start;
        let same_page = self.used > 0 && now - self.last_at < SAME_PAGE * duration;
        if self.used == 0 {
            self.first = Point { at: start, late };
            self.first_duration = duration;
        }
        self.last_at = now;
        self.head = start + duration;
        if same_page {
            let block = &mut self.blocks[self.used - 1];
            block.lowest_chunk = block.lowest_chunk.min(late);
        } else {
            self.pages += 1;
            self.page = Point { at: start, late };
            self.record(self.page);
        }
        self.burst = self.burst.max(self.head - self.page.at);
        let excess = (late - self.line(start)).max(0.0);
        self.peak *= (1.0 - duration * std::f64::consts::LN_2 / HALF_LIFE_MS).max(0.0);
        if !same_page {
            self.peak = self.peak.max(excess);
        }
        self.lateness.add(excess, duration);
    }

    fn record(&mut self, page: Point) {
        let one = Block {
            start: page.at,
            low: page,
            lowest_chunk: page.late,
            high: page,
        };
        if self.used > 0 && page.at < self.blocks[self.used - 1].start + self.block_ms {
            self.blocks[self.used - 1].merge(one);
            return;
        }
        if self.used == BLOCKS {
            self.compact();
        }
        self.blocks[self.used] = one;
        self.used += 1;
    }

    /// Makes room: halves the resolution until blocks are long enough, from then on forgets the oldest.
    fn compact(&mut self) {
        if self.block_ms < LAST_BLOCK_MS {
            for k in 0..BLOCKS / 2 {
                self.blocks[k] = self.blocks[2 * k];
                self.blocks[k].merge(self.blocks[2 * k + 1]);
            }
            self.used = BLOCKS / 2;
            self.block_ms *= 2.0;
        } else {
            self.blocks.copy_within(1.., 0);
            self.used = BLOCKS - 1;
        }
    }

    #[inline(never)]
    fn lowest(blocks: &[Block]) -> Point {
        blocks
            .iter()
            .map(|b| b.low)
            .reduce(|a, b| if b.late < a.late { b } else { a })
            .unwrap_or_default()
    }

    /// Lateness gained per media ms: 0 at real time, `1/r − 1` when media comes at `r` times real time.
    ///
    /// The slope of the lower envelope, from the earliest page of the first quarter
    /// of the history to that of the last: a passing delay does not bend it. To count
    /// as falling (faster than real time) a page must beat every *chunk* before, those
    /// inside pages included; else a late first page would look like a fast stream.
    #[inline(never)]
    pub(super) fn trend(&self) -> f64 {
        let blocks = &self.blocks[..self.used];
        if blocks.len() < 2 {
            return 0.0;
        }
        let part = (blocks.len() / 4).max(1);
        let (old, new) = (&blocks[..part], &blocks[blocks.len() - part..]);
        let (from, to) = (Self::lowest(old), Self::lowest(new));
        let span = to.at - from.at + PRIOR_SPAN_MS;
        let rise = to.late - from.late;
        if rise >= 0.0 {
            return rise / span;
        }
        let lowest_chunk = old
            .iter()
            .map(|b| b.lowest_chunk)
            .fold(f64::INFINITY, f64::min);
        (to.late - lowest_chunk).min(0.0) / span
    }

    /// Undisturbed lateness at media position `at`: the earliest page of the newer half of the history,
    /// carried on along a rising trend.
    #[inline(never)]
    fn line(&self, at: f64) -> f64 {
        let low = Self::lowest(&self.blocks[self.used / 2..self.used]);
        low.late + self.trend().max(0.0) * (at - low.at).max(0.0)
    }

    /// Undisturbed lateness of the next chunk.
    pub(super) fn base(&self) -> f64 {
        self.line(self.head)
    }

    /// Largest lateness above the base, slowly forgotten. Counts the chunk that is due
    /// but has not come, up to a second, so that nobody starts in the middle of a drought.
    #[inline(never)]
    pub(super) fn spread(&self, now: f64) -> f64 {
        let due = (now - self.head - self.base()).min(DROUGHT_MS);
        self.peak.max(due).max(self.early_spread())
    }

    /// While the first second is not over the base may still fall: measures the pages so far against the newest base.
    fn early_spread(&self) -> f64 {
        if self.backlog || self.block_ms > FIRST_BLOCK_MS || self.used > BLOCKS / 2 {
            return 0.0;
        }
        let low = Self::lowest(&self.blocks[self.used / 2..self.used]);
        let trend = self.trend();
        let above = |p: Point| p.late - (low.late + trend * (p.at - low.at));
        self.blocks[..self.used]
            .iter()
            .map(|b| above(b.high))
            .fold(0.0, f64::max)
    }

    /// The first page is a backlog: its age is no delay.
    pub(super) fn note_burst(&mut self) {
        self.backlog = true;
    }

    /// Has anything arrived?
    pub(super) fn any(&self) -> bool {
        self.used > 0
    }

    /// Pages so far.
    pub(super) fn pages(&self) -> u32 {
        self.pages
    }

    /// Lateness of the newest page.
    pub(super) fn newest(&self) -> f64 {
        self.page.late
    }

    /// Media ms of the newest page.
    pub(super) fn page_ms(&self) -> f64 {
        self.head - self.page.at
    }

    /// End of the media that has arrived.
    pub(super) fn head(&self) -> f64 {
        self.head
    }

    /// Media that has arrived.
    pub(super) fn received(&self) -> f64 {
        self.head - self.first.at
    }

    /// Arrival and duration of the first chunk.
    pub(super) fn first(&self) -> (f64, f64) {
        (self.first.at + self.first.late, self.first_duration)
    }

    /// Arrival of the newest chunk.
    pub(super) fn last_at(&self) -> f64 {
        self.last_at
    }

    /// Most media that came as one page.
    pub(super) fn burst(&self) -> f64 {
        self.burst
    }

    /// Quantile of the lateness above the base, weighted by media time, old ones forgotten.
    pub(super) fn quantile(&self, q: f64) -> f64 {
        self.lateness.quantile(q)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds (arrival, start, duration).
    fn seen(chunks: &[(f64, f64, f64)]) -> Arrivals {
        let mut a = Arrivals::new();
        for c in chunks {
            a.add(c.0, c.1, c.2);
        }
        a
    }

    fn steady(n: u32, duration: f64, every: f64, first: f64) -> Vec<(f64, f64, f64)> {
        (0..n)
            .map(|k| {
                (
                    first + f64::from(k) * every,
                    f64::from(k) * duration,
                    duration,
                )
            })
            .collect()
    }

    #[test]
    fn real_time_has_no_trend_and_no_spread() {
        let a = seen(&steady(100, 20.0, 20.0, 50.0));
        assert_eq!(a.trend(), 0.0);
        assert_eq!(a.base(), 50.0);
        assert_eq!(a.spread(50.0 + 99.0 * 20.0), 0.0);
    }

    #[test]
    fn trend_of_a_slow_stream_is_one_over_r_minus_one() {
        // r = 0.8: a chunk of 100 ms every 125 ms.
        let a = seen(&steady(400, 100.0, 125.0, 700.0));
        assert!((a.trend() - 0.25).abs() < 0.001, "{}", a.trend());
        // The base follows the trend to the next chunk: it will come at 700 + 400 × 125.
        assert!(
            (a.base() - (700.0 + 400.0 * 25.0)).abs() < 30.0,
            "{}",
            a.base()
        );
    }

    #[test]
    fn trend_of_a_fast_stream_is_negative() {
        let a = seen(&steady(200, 100.0, 50.0, 500.0));
        assert!((a.trend() + 0.5).abs() < 0.005, "{}", a.trend());
    }

    #[test]
    fn a_page_counts_by_its_first_chunk() {
        // Pages of four 100 ms chunks every 400 ms: real time, and no margin inside a page.
        let chunks: Vec<_> = (0..40)
            .map(|k| {
                (
                    1000.0 + f64::from(k / 4) * 400.0,
                    f64::from(k) * 100.0,
                    100.0,
                )
            })
            .collect();
        let a = seen(&chunks);
        assert_eq!(a.pages(), 10);
        assert_eq!(a.burst(), 400.0);
        assert_eq!(a.base(), 1000.0);
        assert_eq!(a.trend(), 0.0);
    }

    #[test]
    fn a_delayed_first_page_is_spread_and_not_speed() {
        // Ten chunks held back until 220 ms, then one every 20 ms, 20 ms after its start.
        let mut chunks: Vec<_> = (0..10)
            .map(|k| (220.0, f64::from(k) * 20.0, 20.0))
            .collect();
        chunks.push((240.0, 200.0, 20.0));
        let a = seen(&chunks);
        assert_eq!(a.base(), 40.0);
        assert_eq!(a.trend(), 0.0);
        assert_eq!(a.spread(240.0), 180.0);
    }

    #[test]
    fn a_passing_delay_is_spread_and_not_trend() {
        let mut chunks = steady(100, 20.0, 20.0, 20.0);
        for c in &mut chunks[50..60] {
            c.0 = 20.0 + 59.0 * 20.0; // chunk 50 is 180 ms late
        }
        let a = seen(&chunks);
        assert_eq!(a.trend(), 0.0);
        let spread = a.spread(20.0 + 99.0 * 20.0);
        assert!((175.0..=180.0).contains(&spread), "{spread}");
    }

    #[test]
    fn a_drought_under_way_counts() {
        let a = seen(&steady(50, 20.0, 20.0, 20.0));
        // Chunk 50 was due at 1020 and has not come by 1320.
        assert_eq!(a.spread(1320.0), 300.0);
    }

    #[test]
    fn spread_is_forgotten_by_half_in_its_half_life() {
        let mut a = seen(&steady(50, 20.0, 20.0, 20.0));
        a.add(1020.0 + 400.0, 1000.0, 20.0);
        for k in 51..1551 {
            a.add(f64::from(k) * 20.0 + 20.0, f64::from(k) * 20.0, 20.0);
        }
        assert!((a.peak - 200.0).abs() < 2.0, "{}", a.peak);
    }

    #[test]
    fn a_restart_keeps_the_spread_only() {
        let mut a = seen(&steady(50, 20.0, 20.0, 20.0));
        a.add(1420.0, 1000.0, 20.0);
        a.restart();
        assert!(!a.any());
        a.add(5000.0, 90_000.0, 20.0);
        assert!(a.spread(5000.0) > 390.0);
        assert_eq!(a.base(), -85_000.0);
    }
}
