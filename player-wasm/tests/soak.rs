//! Half an hour of a bad network, played as fast as it computes: the heap stays flat.
//!
//! Jitter, outages, lost chunks, gaps, a clock that drifts, links of another layout, seeks,
//! flushes, pauses and a rebuilt output, with the time-stretch on. Only the first minutes by
//! default; `SEAMCAST_SOAK_MINUTES=30` runs it all.

// Counting what is allocated takes an allocator.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use opus::{Application, Channels, Encoder};
use seamcast_media::demux::Container;
use seamcast_media::ogg::{PageFlags, PageSpec, write_page};
use seamcast_media::opus::{Head, Tags};
use seamcast_media::units::{MediaDuration, MediaTime};
use seamcast_player::engine::{Engine, Event};
use seamcast_player::prebuffer::{Latency, Mode};
use seamcast_protocol::TICKS_PER_SECOND;
use seamcast_protocol::chunk::{Flags, Header};

/// Counts bytes held and allocations made. libopus' own decoder states, made by C, are not seen.
struct Counting;

static HELD: AtomicU64 = AtomicU64::new(0);
static MADE: AtomicU64 = AtomicU64::new(0);

// SAFETY: every call is passed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        HELD.fetch_add(layout.size() as u64, Relaxed);
        MADE.fetch_add(1, Relaxed);
        // SAFETY: the caller's promise is the one asked for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size() as u64, Relaxed);
        // SAFETY: as above; `at` came from `alloc`.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const RATE: u32 = 48_000;
/// A chunk's length, ms, and its packets.
const CHUNK_MS: f64 = 100.0;
const PACKETS: usize = 5;
/// Chunks of one link: 150 s.
const LINK: u64 = 1_500;
/// How much faster the source's clock is.
const DRIFT: f64 = 150e-6;
/// More than this in the second half is growth, bytes: under 1 MB an hour when it lasts half of one.
const SLACK: u64 = 256 << 10;

/// xorshift64*
struct Random(u64);

impl Random {
    fn unit(&mut self) -> f64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// Twenty seconds of packets, over and over.
struct Programme {
    packets: [Vec<Vec<u8>>; 2],
}

impl Programme {
    fn new() -> Self {
        let packets = [Channels::Stereo, Channels::Mono].map(|channels| {
            let mut encoder = Encoder::new(RATE, channels, Application::Audio).expect("an encoder");
            let count = channels as usize;
            (0..1_000)
                .map(|packet| {
                    let pcm: Vec<f32> = (0..960 * count)
                        .map(|i| {
                            let t = (packet * 960 + i / count) as f32 / RATE as f32;
                            // Tones with pauses, so that there are quiet spots.
                            let on = if t % 2.0 < 1.7 { 0.3 } else { 0.0 };
                            on * (std::f32::consts::TAU * (220.0 + 40.0 * t.floor()) * t).sin()
                        })
                        .collect();
                    encoder.encode_vec_float(&pcm, 1_500).expect("a packet")
                })
                .collect()
        });
        Self { packets }
    }

    fn channels(link: u64) -> u8 {
        2 - (link % 2) as u8
    }

    fn headers(link: u64) -> Vec<u8> {
        let mut spec = PageSpec {
            flags: PageFlags {
                bos: true,
                ..PageFlags::default()
            },
            granule: Some(0),
            serial: link as u32,
            sequence: 0,
        };
        let head = Head::simple(Self::channels(link), 0, RATE).to_bytes();
        let mut headers = write_page(&spec, &[&head]);
        spec.flags.bos = false;
        spec.sequence = 1;
        headers.extend(write_page(&spec, &[&Tags::default().to_bytes()]));
        headers
    }

    fn message(&self, index: u64) -> Vec<u8> {
        let (link, within) = (index / LINK, index % LINK);
        let packets = &self.packets[(link % 2) as usize];
        let payload: Vec<&[u8]> = (0..PACKETS)
            .map(|k| packets[(index as usize * PACKETS + k) % packets.len()].as_slice())
            .collect();
        let spec = PageSpec {
            flags: PageFlags::default(),
            granule: Some((within + 1) * PACKETS as u64 * 960),
            serial: link as u32,
            sequence: within as u32 + 2,
        };
        let header = Header {
            flags: Flags::SYNC,
            generation: link as u32,
            seq: index,
            media_time: index * (TICKS_PER_SECOND / 10),
            duration: TICKS_PER_SECOND / 10,
            ingest_time: 0,
        };
        [&header.encode()[..], &write_page(&spec, &payload)].concat()
    }
}

#[test]
fn half_an_hour_of_a_bad_network_leaves_the_heap_flat() {
    let minutes: u64 = std::env::var("SEAMCAST_SOAK_MINUTES")
        .ok()
        .and_then(|v| v.parse().ok())
        .unwrap_or(6);
    let programme = Programme::new();
    let mut random = Random(0x5eed_cafe);
    let mut engine = Engine::new(Mode::Live, Latency::AUTO);
    let mut rate = RATE;
    let output = |engine: &mut Engine, rate: u32| {
        engine.set_output(rate, 2, u64::from(rate / 50), u64::from(rate / 2));
    };
    output(&mut engine, rate);
    engine.play(0.0);

    let (mut next, mut generation, mut clear_at) = (0u64, None, 0.0);
    let (mut frame, mut frames_out, mut underruns, mut seeks) = (0u64, 0u64, 0u32, 0u32);
    // Most held in each minute; allocations made in it.
    let (mut peaks, mut made) = (Vec::new(), Vec::new());
    for minute in 0..minutes {
        let before = MADE.load(Relaxed);
        let mut peak = 0;
        for step in 0..3_000u64 {
            let now = (minute * 3_000 + step) as f64 * 20.0;
            frame += u64::from(rate) / 50;
            match (minute % 6, step) {
                // An outage that no buffer outlasts, and two short ones.
                (_, 700) => clear_at = now + 6_000.0,
                (_, 1_500 | 2_300) => clear_at = now + 900.0,
                (1, 2_000) => {
                    engine.pause(now, frame);
                }
                (1, 2_050) => engine.play(now),
                // Ten seconds back, as far as the clock allows, and later to the live edge.
                (2, 1_000) | (3, 1_000) => {
                    let back = if minute % 6 == 2 { 100 } else { 0 };
                    next = ((now / CHUNK_MS) as u64).saturating_sub(back + 1);
                    let at = MediaTime::ZERO + MediaDuration::from_millis(next * 100 + 130);
                    engine.seek(now, at, back > 0);
                    (generation, seeks) = (None, seeks + 1);
                }
                (4, 1_000) => {
                    engine.flush(now, frame);
                }
                // The context is rebuilt at another rate.
                (5, 500) => {
                    rate = if rate == RATE { 44_100 } else { RATE };
                    output(&mut engine, rate);
                    frame = 0;
                }
                _ => {}
            }
            while now >= clear_at && next as f64 * CHUNK_MS / (1.0 + DRIFT) + CHUNK_MS <= now {
                if generation != Some(next / LINK) {
                    generation = Some(next / LINK);
                    let headers = Programme::headers(next / LINK);
                    engine.config((next / LINK) as u32, Container::Ogg, &headers);
                }
                match random.unit() {
                    // Eight are skipped and said to be, or one is lost.
                    x if x < 0.001 => {
                        engine.gap();
                        next += 8;
                    }
                    x if x < 0.006 => {}
                    _ => engine.push_chunk(now, &programme.message(next)),
                }
                next += 1;
                if random.unit() < 0.2 {
                    clear_at = now + 80.0 * random.unit();
                }
            }
            engine.poll(now, frame, frame);
            while let Some(event) = engine.next_event() {
                underruns += u32::from(matches!(event, Event::Underrun { .. }));
            }
            while let Some(slot) = engine.next_slot() {
                assert_eq!(engine.pcm(slot, 1).len() as u64, slot.frames);
                frames_out += slot.frames;
            }
            std::hint::black_box(engine.stats(frame));
            peak = peak.max(HELD.load(Relaxed));
        }
        peaks.push(peak);
        made.push(MADE.load(Relaxed) - before);
    }
    println!(
        "KiB held at most, by minute: {:?}",
        peaks.iter().map(|p| p >> 10).collect::<Vec<_>>()
    );
    println!("allocations by minute: {made:?}");
    let stats = engine.stats(frame);
    println!("{underruns} underruns, {seeks} seeks, {stats:?}");
    assert!(u64::from(underruns) >= minutes / 2, "{underruns} underruns");
    assert!(
        stats.concealed_frames > 0 && stats.stretched_frames > 0,
        "{stats:?}"
    );
    let heard = frames_out as f64 / f64::from(RATE);
    assert!(heard > 60.0 * minutes as f64 * 0.75, "{heard} s");
    // All that is to come was there once after the first two minutes: a depth, two layouts.
    let (first, second) = peaks[2..].split_at((peaks.len() - 2) / 2);
    let most = |peaks: &[u64]| peaks.iter().copied().max().unwrap_or(0);
    assert!(
        most(second) <= most(first) + SLACK,
        "held at most by minute: {peaks:?}"
    );
}
