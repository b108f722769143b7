//! The engine against a simulated output: one clock, blocks placed where they
//! ask to be, and what is heard compared with the plain decode.

mod append;
mod ends;
mod live;

use opus::{Application, Channels, Encoder};
use seamcast_media::ogg::{PageFlags, PageSpec, write_page};
use seamcast_media::opus::{Head, Tags};
use seamcast_protocol::TICKS_PER_SECOND;
use seamcast_protocol::chunk::Flags;

use super::*;
use crate::stream::{Item, StreamDecoder};

const RATE: u32 = 48_000;

/// An Ogg/Opus stereo sine: header pages, then one page for each 100 ms.
fn opus_pages(secs: f64) -> (Vec<u8>, Vec<Vec<u8>>) {
    opus_pages_of(secs, |_| 0.5)
}

/// The same, as loud as `level` says of each second.
fn opus_pages_of(secs: f64, level: impl Fn(f32) -> f32) -> (Vec<u8>, Vec<Vec<u8>>) {
    let mut spec = PageSpec {
        flags: PageFlags {
            bos: true,
            ..PageFlags::default()
        },
        granule: Some(0),
        serial: 7,
        sequence: 0,
    };
    let head = Head::simple(2, 312, RATE).to_bytes();
    let mut headers = write_page(&spec, &[&head]);
    spec.flags.bos = false;
    spec.sequence = 1;
    headers.extend(write_page(&spec, &[&Tags::default().to_bytes()]));
    let mut encoder = Encoder::new(RATE, Channels::Stereo, Application::Audio).expect("encoder");
    let packets = (secs * 50.0) as usize;
    let mut pages = Vec::new();
    let mut packed: Vec<Vec<u8>> = Vec::new();
    for packet in 0..packets {
        let pcm: Vec<f32> = (0..960)
            .flat_map(|i| {
                let t = (packet * 960 + i) as f32 / RATE as f32;
                let x = level(t) * (std::f32::consts::TAU * 440.0 * t).sin();
                [x, -x]
            })
            .collect();
        packed.push(encoder.encode_vec_float(&pcm, 1500).expect("encode"));
        if packed.len() == 5 || packet + 1 == packets {
            spec.sequence += 1;
            spec.granule = Some((packet as u64 + 1) * 960);
            spec.flags.eos = packet + 1 == packets;
            let refs: Vec<&[u8]> = packed.iter().map(Vec::as_slice).collect();
            pages.push(write_page(&spec, &refs));
            packed.clear();
        }
    }
    (headers, pages)
}

/// The left channel of a plain decode.
fn reference(bytes: &[u8]) -> Vec<f32> {
    let mut decoder = StreamDecoder::new();
    let mut out = Vec::new();
    decoder.push(bytes);
    decoder.finish();
    while let Some(item) = decoder.poll() {
        if let Item::Audio(audio) = item {
            out.extend_from_slice(audio.channel(0));
        }
    }
    out
}

/// A context whose clock is moved by hand.
struct Sim {
    engine: Engine,
    rate: u32,
    frame: u64,
    now: f64,
    heard: Vec<f32>,
    events: Vec<Event>,
}

impl Sim {
    fn new(mode: Mode, latency: Latency, rate: u32) -> Self {
        let mut engine = Engine::new(mode, latency);
        engine.set_output(rate, 2, u64::from(rate / 50), u64::from(rate));
        engine.play(0.0);
        Self {
            engine,
            rate,
            frame: 0,
            now: 0.0,
            heard: Vec::new(),
            events: Vec::new(),
        }
    }

    fn poll(&mut self) {
        self.engine.poll(self.now, self.frame, self.frame);
        while let Some(event) = self.engine.next_event() {
            if let Event::Cancel { frame } = event {
                self.heard.truncate(frame as usize);
            }
            self.events.push(event);
        }
        while let Some(slot) = self.engine.next_slot() {
            assert!(
                slot.context > self.frame,
                "in the past: {slot:?} at {}",
                self.frame
            );
            let at = slot.context as usize;
            assert!(
                self.heard.len() <= at,
                "overlap: {slot:?} over {}",
                self.heard.len()
            );
            self.heard.resize(at, 0.0);
            let pcm = self.engine.pcm(slot, 0);
            assert_eq!(pcm.len() as u64, slot.frames);
            self.heard.extend_from_slice(pcm);
        }
    }

    fn advance(&mut self, ms: u64) {
        for _ in 0..ms.div_ceil(20) {
            self.now += 20.0;
            self.frame += u64::from(self.rate) / 50;
            self.poll();
        }
    }

    fn count(&self, wanted: impl Fn(&Event) -> bool) -> usize {
        self.events.iter().filter(|e| wanted(e)).count()
    }

    /// What was heard from the first sound on.
    fn sound(&self) -> &[f32] {
        let first = self.heard.iter().position(|x| *x != 0.0).unwrap_or(0);
        &self.heard[first..]
    }
}

fn trimmed(pcm: &[f32]) -> &[f32] {
    let first = pcm.iter().position(|x| *x != 0.0).unwrap_or(0);
    &pcm[first..]
}

#[test]
fn a_whole_file_is_heard_to_the_last_frame() {
    let (headers, pages) = opus_pages(3.0);
    let bytes = [headers, pages.concat()].concat();
    let mut sim = Sim::new(Mode::Complete, Latency::AUTO, RATE);
    for piece in bytes.chunks(777) {
        sim.engine.push_bytes(0.0, piece);
    }
    sim.engine.end_of_stream(0.0);
    sim.poll();
    sim.advance(4_000);
    assert_eq!(sim.sound(), trimmed(&reference(&bytes)));
    assert_eq!(sim.count(|e| *e == Event::Ended), 1, "{:?}", sim.events);
    assert_eq!(sim.count(|e| matches!(e, Event::Waiting { .. })), 0);
    assert!(matches!(sim.events[0], Event::LoadedMetadata(_)));
    let end = sim.engine.current_time(sim.frame).as_secs_f64();
    assert!((end - (3.0 - 312.0 / 48_000.0)).abs() < 1e-3, "{end}");
    let stats = sim.engine.stats(sim.frame);
    assert_eq!(stats.underrun_events, 0);
    assert!((stats.total_duration - end).abs() < 1e-3, "{stats:?}");
}

#[test]
fn a_stall_is_one_underrun_of_the_exact_length() {
    let (headers, pages) = opus_pages(4.0);
    let bytes = [headers.clone(), pages.concat()].concat();
    let mut sim = Sim::new(Mode::Complete, Latency::fixed(300.0), RATE);
    sim.engine.push_bytes(0.0, &headers);
    for (i, page) in pages.iter().enumerate() {
        // Real time, but for 900 ms of nothing in the middle.
        sim.engine.push_bytes(sim.now, page);
        sim.poll();
        sim.advance(if i == 20 { 1_000 } else { 100 });
    }
    sim.engine.end_of_stream(sim.now);
    sim.advance(3_000);
    let silences: Vec<u64> = sim
        .events
        .iter()
        .filter_map(|e| match e {
            Event::Underrun { silence, .. } => Some(*silence),
            _ => None,
        })
        .collect();
    assert_eq!(silences.len(), 1, "{:?}", sim.events);
    assert_eq!(sim.count(|e| matches!(e, Event::Waiting { .. })), 1);
    // The silence told is the silence heard: without it, the decode remains.
    let want = reference(&bytes);
    let want = trimmed(&want);
    let sound = sim.sound();
    let cut = sound.len() - want.len();
    assert_eq!(cut as u64, silences[0]);
    let at = sound
        .iter()
        .zip(want)
        .position(|(a, b)| a != b)
        .expect("a gap");
    assert!(sound[at..at + cut].iter().all(|x| *x == 0.0));
    assert_eq!(sound[at + cut..], want[at..]);
}

#[test]
fn other_rates_are_resampled_to_the_exact_length() {
    let (headers, pages) = opus_pages(2.0);
    let bytes = [headers, pages.concat()].concat();
    for rate in [44_100, 96_000] {
        let mut sim = Sim::new(Mode::Complete, Latency::AUTO, rate);
        sim.engine.push_bytes(0.0, &bytes);
        sim.engine.end_of_stream(0.0);
        sim.poll();
        sim.advance(3_000);
        let frames = (96_000 - 312) as f64 * f64::from(rate) / 48_000.0;
        let heard = sim.engine.heard_at(sim.frame) as f64;
        assert!((heard - frames).abs() <= 1.0, "{rate}: {heard} of {frames}");
        assert_eq!(sim.count(|e| *e == Event::Ended), 1);
    }
}

#[test]
fn a_pause_loses_nothing_and_a_flush_forgets() {
    let (headers, pages) = opus_pages(3.0);
    let bytes = [headers.clone(), pages.concat()].concat();
    let mut sim = Sim::new(Mode::Complete, Latency::AUTO, RATE);
    sim.engine.push_bytes(0.0, &bytes);
    sim.engine.end_of_stream(0.0);
    sim.poll();
    sim.advance(1_000);
    let (now, frame) = (sim.now, sim.frame);
    sim.engine.pause(now, frame);
    sim.poll();
    let paused_at = sim.engine.current_time(frame);
    sim.advance(500);
    assert_eq!(sim.engine.current_time(sim.frame), paused_at);
    sim.engine.play(sim.now);
    sim.poll();
    sim.advance(500);
    let played = sim.engine.flush(sim.now, sim.frame).as_secs_f64();
    assert!((played - 1.46).abs() < 0.03, "{played}");
    sim.poll();
    // Nothing scheduled is left, and a new stream plays from its beginning.
    assert!(sim.heard.len() as u64 <= sim.frame);
    sim.advance(200);
    // What was flushed had ended, and with it what was asked for.
    sim.engine.play(sim.now);
    sim.engine.push_bytes(sim.now, &bytes);
    sim.engine.end_of_stream(sim.now);
    let before = sim.frame as usize;
    sim.advance(4_000);
    assert_eq!(
        trimmed(&sim.heard[before.min(sim.heard.len())..]),
        trimmed(&reference(&bytes))
    );
    let again = sim.engine.flush(sim.now, sim.frame).as_secs_f64();
    assert!((again - 2.9935).abs() < 0.001, "{again}");
}

#[test]
fn a_live_programme_with_a_burst_is_heard_sample_by_sample() {
    let (headers, pages) = opus_pages(60.0);
    let bytes = [headers.clone(), pages.concat()].concat();
    for (burst, rate) in [(0, RATE), (20, RATE), (20, 44_100)] {
        let mut sim = Sim::new(Mode::Live, Latency::AUTO, rate);
        // As the player has it unless asked otherwise.
        sim.engine.set_stretch(0.0);
        sim.advance(100);
        sim.engine.push_bytes(sim.now, &headers);
        for (i, page) in pages.iter().enumerate() {
            // Up to 20 ms of jitter, and once a busy machine that stands still for 600 ms, output and all.
            sim.engine.push_bytes(sim.now, page);
            sim.poll();
            if i == 300 && burst > 0 {
                sim.now += 600.0;
            }
            if i >= burst {
                sim.advance(if i % 7 == 0 { 120 } else { 100 } - if i % 7 == 3 { 20 } else { 0 });
            }
            assert_eq!(sim.engine.stats(sim.frame).resample_ratio, 1.0, "page {i}");
        }
        sim.engine.end_of_stream(sim.now);
        sim.advance(4_000);
        let want = reference(&bytes);
        let frames = want.len() as u64 * u64::from(rate) / u64::from(RATE);
        assert_eq!(sim.engine.heard_at(sim.frame), frames);
        assert_eq!(
            sim.count(|e| matches!(e, Event::Waiting { .. } | Event::Skip { .. })),
            0
        );
        if rate == RATE {
            assert_eq!(sim.sound(), trimmed(&want));
        }
    }
}

fn framed(pages: &[Vec<u8>], index: usize, flags: Flags) -> Vec<u8> {
    let tenth = TICKS_PER_SECOND / 10;
    let pre_skip = 312 * (TICKS_PER_SECOND / 48_000);
    let start = (index as u64 * tenth).saturating_sub(pre_skip);
    let header = Header {
        flags,
        generation: 3,
        seq: index as u64,
        media_time: start,
        duration: (index as u64 + 1) * tenth - pre_skip - start,
        ingest_time: 0,
    };
    [&header.encode()[..], &pages[index]].concat()
}

#[test]
fn framed_chunks_carry_media_time_and_lost_ones_are_concealed() {
    let (headers, pages) = opus_pages(3.0);
    let mut sim = Sim::new(Mode::Live, Latency::fixed(200.0), RATE);
    sim.engine.push_chunk(0.0, &framed(&pages, 10, Flags::SYNC));
    sim.engine.config(3, Container::Ogg, &headers);
    for index in 10..30 {
        // One chunk is lost, then eight are skipped.
        if index != 15 && !(18..26).contains(&index) {
            if index == 26 {
                sim.engine.gap();
            }
            sim.engine
                .push_chunk(sim.now, &framed(&pages, index, Flags::SYNC));
            sim.poll();
        }
        sim.advance(100);
        if index == 10 {
            let (from, to) = sim.engine.buffered(sim.frame);
            assert!(
                (to.since(from).as_secs_f64() - 0.02).abs() < 0.001,
                "{from:?} {to:?}"
            );
        }
    }
    sim.engine.end_of_stream(sim.now);
    sim.advance(2_000);
    let errors = sim.count(|e| matches!(e, Event::DecodeError(_)));
    assert_eq!(
        errors, 2,
        "chunk without a config, lost chunk: {:?}",
        sim.events
    );
    assert!(sim.engine.stats(sim.frame).concealed_frames >= 4_800);
    let end = sim.engine.current_time(sim.frame).as_secs_f64();
    assert!((end - 2.9935).abs() < 0.02, "{end}");
    // 11 chunks heard less 80 ms in which the decoder settles, 1 concealed; the eight are not waited for.
    let heard = sim.engine.heard_at(sim.frame) as f64 / 48_000.0;
    assert!((heard - 1.12).abs() < 0.05, "{heard}");
}

#[test]
fn another_output_goes_on_where_the_last_one_was() {
    let (headers, pages) = opus_pages(3.0);
    let mut sim = Sim::new(Mode::Complete, Latency::AUTO, RATE);
    sim.engine
        .push_bytes(0.0, &[headers, pages.concat()].concat());
    sim.engine.end_of_stream(0.0);
    sim.poll();
    sim.advance(1_000);
    let before = sim.engine.current_time(sim.frame).as_secs_f64();
    sim.engine.set_output(44_100, 1, 882, 44_100);
    sim.rate = 44_100;
    sim.frame = 0;
    sim.heard.clear();
    sim.poll();
    let after = sim.engine.current_time(sim.frame).as_secs_f64();
    assert!((after - before).abs() < 0.002, "{before} {after}");
    sim.advance(3_000);
    assert_eq!(sim.count(|e| *e == Event::Ended), 1);
}

#[test]
fn hostile_input_is_told_and_bounded() {
    let mut engine = Engine::new(Mode::Complete, Latency::AUTO);
    engine.push_chunk(0.0, b"short");
    engine.push_bytes(0.0, &[0x55; 200_000]);
    engine.end_of_stream(0.0);
    engine.play(0.0);
    let mut ended = false;
    for i in 0..100 {
        engine.poll(f64::from(i) * 20.0, i as u64 * 960, i as u64 * 960);
        while let Some(event) = engine.next_event() {
            ended |= event == Event::Ended;
        }
    }
    assert!(ended, "a stream without audio ends");
    // A sender that will not wait is refused before memory runs out.
    // 320 kbit/s frames at 48 kHz.
    let mut frame = vec![0; 960];
    frame[..4].copy_from_slice(&[0xff, 0xfb, 0xe4, 0x00]);
    let body = frame.repeat(64);
    let mut engine = Engine::new(Mode::Complete, Latency::AUTO);
    let mut told = 0;
    for i in 0..300 {
        engine.push_bytes(f64::from(i), &body);
        while let Some(event) = engine.next_event() {
            told += usize::from(event == Event::Overflow);
        }
    }
    assert!(told == 1 && engine.full(), "{told}");
}

#[test]
fn a_block_decoded_too_late_is_put_off_whole() {
    let (headers, pages) = opus_pages(1.0);
    let bytes = [headers, pages.concat()].concat();
    let mut sim = Sim::new(Mode::Complete, Latency::AUTO, RATE);
    sim.engine.push_bytes(0.0, &bytes);
    sim.engine.end_of_stream(0.0);
    sim.engine.poll(0.0, 0, 0);
    // The lead is 960 frames. A start may wait, so most of it has to be left for what comes
    // between this and the output's taking the block.
    sim.engine.catch_up(200);
    let first = sim.engine.slots.front().copied().expect("a block");
    assert_eq!((first.context, first.output), (960, 0));
    sim.engine.catch_up(300);
    let first = sim.engine.slots.front().copied().expect("a block");
    assert_eq!((first.context, first.output), (1_260, 0));
    // Decoding has taken longer than the lead.
    sim.engine.catch_up(1_500);
    let first = sim.engine.slots.front().copied().expect("a block");
    assert_eq!((first.context, first.output), (2_460, 0));
    assert_eq!(sim.engine.current_time(2_460), MediaTime::ZERO);
    sim.frame = 1_500;
    sim.poll();
    sim.advance(1_500);
    assert!(sim.events.contains(&Event::Ended));
    assert_eq!(trimmed(sim.sound()), trimmed(&reference(&bytes)));
    assert_eq!(sim.engine.stats(sim.frame).underrun_events, 0);
    assert_eq!(
        sim.engine.stats(sim.frame).total_duration,
        1.0 - 312.0 / 48_000.0
    );
}

#[test]
fn an_end_is_told_once_the_audio_clock_has_shown_it() {
    let (headers, pages) = opus_pages(0.5);
    let bytes = [headers, pages.concat()].concat();
    let mut sim = Sim::new(Mode::Complete, Latency::AUTO, RATE);
    sim.engine.push_bytes(0.0, &bytes);
    sim.engine.end_of_stream(0.0);
    sim.poll();
    sim.poll();
    let end = sim.engine.schedule.end().expect("scheduled");
    // The audio thread is late: by the wall clock it should be there.
    sim.engine.poll(600.0, end + 480, end - 1);
    assert_eq!(sim.engine.next_event(), None);
    sim.engine.poll(610.0, end + 960, end);
    let mut told = std::iter::from_fn(|| sim.engine.next_event());
    assert!(told.any(|event| event == Event::Ended));
}
