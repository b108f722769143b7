use super::*;
use seamcast_media::pcm::SampleFormat;

fn session(declared: Declared, codec: Codec) -> Session {
    Session::new(Config {
        declared,
        encode: Settings {
            codec,
            bitrate: 0,
            complexity: 2,
            chunk_ms: 100,
        },
        chunk: MediaDuration::from_millis(100),
    })
    .expect("settings")
}

fn raw(sample_rate: u32) -> Declared {
    Declared::Pcm(wav::Format {
        sample: SampleFormat::S16le,
        sample_rate,
        channels: 1,
    })
}

/// Polls dry; begins where asked to.
fn drain(session: &mut Session, start: MediaTime) -> Vec<Media> {
    let mut all = Vec::new();
    while let Some(output) = session.poll() {
        match output {
            Output::Begin => session.begin(start, 9),
            Output::Media(media) => all.push(media),
        }
    }
    all
}

fn length(outputs: &[Media]) -> u64 {
    let chunks = outputs.iter().filter_map(|output| match output {
        Media::Chunk(chunk) => Some(chunk.duration.ticks()),
        _ => None,
    });
    chunks.sum()
}

fn publish(bytes: &[u8], piece: usize) -> Vec<Media> {
    publish_as(Declared::Sniff, bytes, piece)
}

fn publish_as(declared: Declared, bytes: &[u8], piece: usize) -> Vec<Media> {
    let mut session = session(declared, Codec::Opus);
    let mut all = Vec::new();
    for piece in bytes.chunks(piece) {
        session.push(piece).expect("audio");
        all.extend(drain(&mut session, MediaTime::ZERO));
    }
    session.finish().expect("audio");
    all.extend(drain(&mut session, MediaTime::ZERO));
    session.close();
    all.extend(drain(&mut session, MediaTime::ZERO));
    all
}

#[test]
fn wav_is_encoded_and_what_follows_its_samples_ignored() {
    let format = wav::Format {
        sample: SampleFormat::S16le,
        sample_rate: 16_000,
        channels: 1,
    };
    let mut bytes = wav::header(format, Some(32_002));
    bytes.extend((0..32_002).map(|i| i as u8));
    bytes.extend(b"LIST\x08\0\0\0INFOabcd");
    let whole = publish(&bytes, usize::MAX);
    let exact = MediaDuration::from_frames(seamcast_media::units::Frames(16_001), 16_000);
    assert_eq!(length(&whole), exact.ticks());
    // However it is cut, the outcome is the same but for where chunks end.
    for piece in [1, 7, 1000] {
        assert_eq!(length(&publish(&bytes, piece)), exact.ticks(), "{piece}");
    }
}

/// A picture in the comments is no reason to refuse what follows it, nor to
/// send it to every listener.
#[test]
fn pictures_before_the_audio_are_passed_over() {
    use seamcast_media::ogg::{PageFlags, PageSpec, write_packet_pages};
    let pages = |sequence, granule, bos, packet: &[u8]| {
        let flags = PageFlags {
            bos,
            ..PageFlags::default()
        };
        let (granule, serial) = (Some(granule), 7);
        let spec = PageSpec {
            flags,
            granule,
            serial,
            sequence,
        };
        write_packet_pages(&spec, packet)
    };
    let mut tags = b"OpusTags\x01\0\0\0x\x02\0\0\0\x07\0\0\0TITLE=a".to_vec();
    tags.extend(700_024_u32.to_le_bytes());
    tags.extend(b"METADATA_BLOCK_PICTURE=a");
    tags.resize(tags.len() + 700_000, b'A');
    let mut bytes = pages(0, 0, true, b"OpusHead\x01\x01\0\0\x80\xbb\0\0\0\0\0");
    bytes.extend(pages(1, 0, false, &tags));
    let sequence = seamcast_media::ogg::page_count(&bytes);
    for n in 0..50 {
        let granule = 960 * u64::from(n + 1);
        bytes.extend(pages(sequence + n, granule, false, &[0xf8, 0xff, 0xfe]));
    }
    for piece in [4096, usize::MAX] {
        let outputs = publish(&bytes, piece);
        let second = MediaDuration::from_millis(1000);
        assert_eq!(length(&outputs), second.ticks(), "{piece}");
        let sizes = outputs.iter().filter_map(|output| match output {
            Media::Generation { headers, .. } => Some(headers.len()),
            _ => None,
        });
        assert!(sizes.clone().count() == 1 && sizes.max() < Some(1000));
    }
}

#[test]
fn the_timeline_continues_where_the_mount_is() {
    let mut session = session(raw(48_000), Codec::Opus);
    let start = MediaTime::from_ticks(1_000_000);
    session.push(&[0; 9600]).expect("audio");
    let outputs = drain(&mut session, start);
    assert!(matches!(outputs[0], Media::Generation { .. }));
    let first = outputs.iter().find_map(|output| match output {
        Media::Chunk(chunk) => Some(chunk.clone()),
        _ => None,
    });
    assert_eq!(first.map(|chunk| chunk.media_time), Some(start));
    assert!(session.position() > Some(start));
}

#[test]
fn first_audio_leaves_within_one_chunk() {
    for codec in [Codec::Opus, Codec::Mp3] {
        let mut session = session(raw(48_000), codec);
        let mut chunks = 0;
        // 20 ms at a time; a chunk is 100 ms, the codec's delay comes on top.
        for _ in 0..10 {
            session.push(&[0; 1920]).expect("audio");
            let outputs = drain(&mut session, MediaTime::ZERO);
            chunks += outputs
                .iter()
                .filter(|output| matches!(output, Media::Chunk(_)))
                .count();
        }
        assert!(chunks >= 1, "{codec:?}");
    }
}

#[test]
fn what_is_no_audio_is_refused_with_the_reason() {
    let refused = |bytes: &[u8]| {
        let mut session = session(Declared::Sniff, Codec::Opus);
        let mut outcome = Ok(());
        for piece in bytes.chunks(4096) {
            outcome = session.push(piece);
            drain(&mut session, MediaTime::ZERO);
            if outcome.is_err() {
                break;
            }
        }
        let error = outcome
            .and_then(|()| session.finish())
            .expect_err("no audio");
        assert_eq!(error.status(), 415);
        error.to_string()
    };
    assert!(refused(b"").contains("empty"));
    assert!(refused(b"<!doctype html>").contains("HTML"));
    assert!(refused(b"fLaC\0\0\0\x22").contains("FLAC"));
    assert!(refused(&[0x55; 600_000]).contains("bytes"));
    assert!(refused(b"RIFF\x10\0\0\0WAVE").contains("WAV header"));
    assert!(refused(b"Og").contains("no Ogg/Opus"));
}

#[test]
fn clamped_samples_are_counted_and_said_once() {
    let mut session = session(
        Declared::Pcm(wav::Format {
            sample: SampleFormat::F32le,
            sample_rate: 48_000,
            channels: 1,
        }),
        Codec::Opus,
    );
    let bytes: Vec<u8> = [f32::NAN, 2.0, f32::INFINITY, 0.5]
        .iter()
        .cycle()
        .take(4800)
        .flat_map(|x| x.to_le_bytes())
        .collect();
    session.push(&bytes).expect("audio");
    let outputs = drain(&mut session, MediaTime::ZERO);
    let faults: Vec<_> = outputs
        .iter()
        .filter(|output| matches!(output, Media::Fault(_)))
        .collect();
    assert_eq!(faults.len(), 1, "{faults:?}");
    let clamped = session.clamped();
    assert_eq!((clamped.nan, clamped.over), (1200, 2400));
}

#[test]
fn garbage_of_every_kind_never_panics() {
    let mut state = 1_u64;
    let mut byte = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 33) as u8
    };
    for start in [
        &b"OggS\0\x02"[..],
        b"ID3\x04\0\0",
        b"RIFF",
        b"\xff\xfb\x90\x00",
        b"",
    ] {
        for round in 0..20_usize {
            let mut session = session(Declared::Sniff, Codec::Opus);
            let mut bytes = start.to_vec();
            bytes.extend((0..round * 97).map(|_| byte()));
            for piece in bytes.chunks(1 + round) {
                if session.push(piece).is_err() {
                    break;
                }
                drain(&mut session, MediaTime::ZERO);
            }
            let _ = session.finish();
            drain(&mut session, MediaTime::ZERO);
        }
    }
}

#[test]
fn what_a_chunk_lacks_is_told_so_that_its_last_frame_wakes() {
    // 128 kb/s at 44.1 kHz: 417 bytes and now and then 418, 26.1 ms.
    let frame = |padding: u8| {
        let mut frame = vec![0; 417 + usize::from(padding)];
        frame[..4].copy_from_slice(&[0xff, 0xfb, 0x90 | padding << 1, 0x64]);
        frame
    };
    let mut session = session(Declared::Sniff, Codec::Mp3);
    let mut chunks = 0;
    let mut left = Vec::new();
    for n in 0..40_u32 {
        for half in frame(u8::from(n % 3 > 0)).chunks(209) {
            session.push(half).expect("audio");
            let outputs = drain(&mut session, MediaTime::ZERO);
            chunks += outputs
                .iter()
                .filter(|output| matches!(output, Media::Chunk(_)))
                .count();
            left.push(session.wanted());
        }
    }
    assert_eq!(chunks, 10, "four frames are nearest to 100 ms");
    assert_eq!(left[..7], [0; 7], "nothing to go by");
    for frame in left[7..].chunks_exact(8) {
        let [full, half, three, ..] = frame else {
            continue;
        };
        assert_eq!(
            (*full, *half, *three),
            (3 * 417 + 208, 3 * 417 - 1, 2 * 417 + 208)
        );
        assert_eq!(frame[6..], [208, 0], "{frame:?}");
    }
}

#[test]
fn a_growing_wav_goes_on_beyond_what_its_header_promised() {
    let Declared::Pcm(format) = raw(8_000) else {
        panic!("raw");
    };
    let begun = [wav::header(format, Some(8_000)), vec![1; 8_000]].concat();
    for piece in [1, 3, 4096] {
        for (more, seconds) in [
            (vec![1; 8_000], 1.0),
            // The first sample looks like a chunk's name.
            ([b"LI".to_vec(), vec![1; 7_998]].concat(), 1.0),
            (
                [b"LIST\x04\0\0\0INFO".to_vec(), vec![1; 7_988]].concat(),
                0.5,
            ),
        ] {
            let bytes = [begun.clone(), more].concat();
            let outputs = publish_as(Declared::Growing, &bytes, piece);
            let heard = MediaTime::from_ticks(length(&outputs)).as_secs_f64();
            assert_eq!(heard, seconds, "{piece}");
        }
    }
}

#[test]
fn a_source_that_is_lost_is_heard_to_its_last_sample() {
    for (rate, frames) in [(8_000, 8_123), (22_050, 10_007), (48_000, 33_333)] {
        let mut session = session(raw(rate), Codec::Opus);
        session.push(&vec![1; 2 * frames]).expect("audio");
        let mut all = drain(&mut session, MediaTime::ZERO);
        session.close();
        all.extend(drain(&mut session, MediaTime::ZERO));
        let heard = MediaTime::from_ticks(length(&all)).as_secs_f64();
        let sent = frames as f64 / f64::from(rate);
        assert!((heard - sent).abs() < 1e-4, "{heard} of {sent}");
    }
}

#[test]
fn a_wav_header_with_an_impossible_rate_is_refused() {
    let Declared::Pcm(mut format) = raw(8_000) else {
        panic!("raw");
    };
    format.sample_rate = 1;
    let mut session = session(Declared::Sniff, Codec::Opus);
    let refused = session.push(&wav::header(format, None)).expect_err("1 Hz");
    assert_eq!(
        refused.to_string(),
        "unsupported WAV: 1 Hz is not from 4000 to 384000 Hz"
    );
}

#[test]
fn aac_is_not_taken_for_mp3() {
    // As ffmpeg writes it: 44.1 kHz, mono, then what may look like anything.
    let mut body = vec![0xff, 0xf1, 0x50, 0x40, 0x17, 0x5f, 0xfc];
    body.extend((0..9000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 7) as u8));
    let tagged = [&b"ID3\x04\0\0\0\0\0\x04abcd"[..], &body].concat();
    for body in [body, tagged] {
        let mut session = session(Declared::Sniff, Codec::Opus);
        let why = session.push(&body).expect_err("aac");
        assert_eq!(why.status(), 415);
        assert!(why.to_string().contains("AAC"), "{why}");
    }
}
