//! Where one format ends and another begins, where something is missing, and where a
//! listener joins in the middle: what the engine puts out, frame by frame.

mod formats_common;

use formats_common::*;
use opus::{Application, Bitrate, Channels, Encoder};
use seamcast_media::ogg::{PageFlags, PageSpec, write_page};
use seamcast_media::opus::{Head, Tags};
use seamcast_media::units::{MediaDuration, MediaTime};
use seamcast_player::engine::Event;
use seamcast_player::resample::Resampler;
use seamcast_player::stream::{Item, StreamDecoder};
use tests::support::{Encoding, Pcm, require, snr_db};

#[test]
fn chained_links_of_other_layouts_and_input_rates_are_joined_frame_by_frame() {
    require(&["ffmpeg"]);
    // Input rates only stand in the header: Opus is decoded at 48 kHz always.
    let layouts = [
        (2, 48_000),
        (1, 24_000),
        (6, 48_000),
        (1, 16_000),
        (2, 48_000),
    ];
    let chain: Vec<u8> = layouts
        .iter()
        .flat_map(|&(channels, rate)| {
            let noise = Pcm::noise(rate, channels, rate as usize / 2, 0.2, 9);
            encoded(&noise, Encoding::Opus(&["-b:a", "160k"]))
        })
        .collect();
    let links = decoded(&chain);
    let channels: Vec<usize> = links.iter().map(Vec::len).collect();
    assert_eq!(channels, layouts.map(|(channels, _)| channels));
    for link in &links {
        assert_eq!(link[0].len(), 24_000);
    }
    // Web Audio's rules for speakers, written out.
    let half = std::f32::consts::FRAC_1_SQRT_2;
    let mut stereo = vec![Vec::new(); 2];
    let mut mono = Vec::new();
    let mut surround = vec![Vec::new(); 6];
    for link in &links {
        for i in 0..link[0].len() {
            let x = |channel: usize| link[channel][i];
            let (left, right, all) = match link.len() {
                1 => (x(0), x(0), [0.0, 0.0, x(0), 0.0, 0.0, 0.0]),
                2 => (x(0), x(1), [x(0), x(1), 0.0, 0.0, 0.0, 0.0]),
                _ => (
                    x(0) + half * (x(2) + x(4)),
                    x(1) + half * (x(2) + x(5)),
                    [x(0), x(1), x(2), x(3), x(4), x(5)],
                ),
            };
            stereo[0].push(left);
            stereo[1].push(right);
            mono.push(match link.len() {
                1 => x(0),
                2 => 0.5 * (x(0) + x(1)),
                _ => half * (x(0) + x(1)) + x(2) + 0.5 * (x(4) + x(5)),
            });
            for (plane, x) in surround.iter_mut().zip(all) {
                plane.push(x);
            }
        }
    }
    for (what, want) in [
        ("mono", vec![mono]),
        ("stereo", stereo.clone()),
        ("5.1", surround),
    ] {
        let mut player = Player::new(RATE, want.len());
        for piece in chain.chunks(4_321) {
            player.engine.push_bytes(0.0, piece);
        }
        player.play_out();
        assert_eq!(player.codecs().len(), links.len(), "{:?}", player.events);
        for (heard, want) in player.heard.iter().zip(&want) {
            assert_eq!(heard.len(), want.len(), "{what}");
            let worst = heard.iter().zip(want).map(|(a, b)| (a - b).abs());
            assert!(worst.fold(0.0, f32::max) < 1e-6, "{what}");
        }
    }
    // At another rate, one resampler goes through all links.
    let mut player = Player::new(44_100, 2);
    player.engine.push_bytes(0.0, &chain);
    player.play_out();
    let mut want = vec![Vec::new(); 2];
    let mut resampler = Resampler::new(RATE, 44_100, 2);
    resampler.process(stereo.iter().map(Vec::as_slice), &mut want);
    resampler.finish(&mut want);
    for (heard, want) in player.heard.iter().zip(&want) {
        assert_eq!(heard.len(), want.len());
        assert!(snr_db(want, heard) > 120.0);
    }
}

#[test]
fn mp3_and_opus_follow_each_other_without_a_gap() {
    require(&["ffmpeg"]);
    let mp3 = encoded(&sine(44_100, 2, 1.0), Encoding::Mp3(&["-b:a", "160k"]));
    let opus = encoded(&sine(RATE, 2, 1.0), Encoding::Opus(&["-b:a", "128k"]));
    let mono = encoded(&sine(32_000, 1, 1.0), Encoding::Mp3(&["-b:a", "96k"]));
    let parts = [mp3.clone(), opus.clone(), mono, opus, mp3.clone(), mp3];
    for rate in [RATE, 44_100] {
        let mut player = Player::new(rate, 2);
        for message in programme(&parts, 100) {
            player.message(&message);
        }
        player.play_out();
        let rates = [44_100, 48_000, 32_000, 48_000, 44_100].map(|rate| (rate, 2));
        let mut want = rates.to_vec();
        want[2].1 = 1;
        assert_eq!(player.codecs(), want, "{:?}", player.events);
        // Pre-skip, end trim, LAME's delay and padding are gone: each part is a second, to the frame.
        assert_eq!(player.heard[0].len() as u64, 6 * u64::from(rate));
        let ideal = sine(rate, 1, 6.0).plane(0);
        let ms = rate as usize / 1_000;
        for (at, pair) in player.heard[0]
            .chunks(10 * ms)
            .zip(ideal.chunks(10 * ms))
            .enumerate()
        {
            let (heard, ideal) = pair;
            let near = at % 100 < 3 || at % 100 >= 97;
            let db = snr_db(ideal, heard);
            assert!(
                db > if near { 8.0 } else { 25.0 },
                "{rate}: {db} dB at {at}0 ms"
            );
            assert!(rms(heard) > 0.8 * rms(ideal), "{rate}: a hole at {at}0 ms");
        }
        assert!(
            steepest(&player.heard[0]) < 2.0 * steepest(&ideal),
            "{rate}: a click"
        );
    }
}

/// Frames, and what was wrong.
fn polled(decoder: &mut StreamDecoder) -> (usize, Vec<String>) {
    let (mut frames, mut errors) = (0, Vec::new());
    while let Some(item) = decoder.poll() {
        match item {
            Item::Audio(audio) => frames += audio.frames(),
            Item::Error(error) => errors.push(error.message),
            _ => {}
        }
    }
    (frames, errors)
}

#[test]
fn another_container_is_told_of_unless_the_stream_was_ended() {
    require(&["ffmpeg"]);
    let mp3 = encoded(&sine(44_100, 2, 1.0), Encoding::Mp3(&["-b:a", "160k"]));
    let opus = encoded(&sine(RATE, 2, 1.0), Encoding::Opus(&["-b:a", "128k"]));
    for (parts, frames) in [([&mp3, &opus], 44_100), ([&opus, &mp3], 48_000)] {
        let mut decoder = StreamDecoder::new();
        parts.iter().for_each(|part| decoder.push(part));
        decoder.finish();
        let (got, errors) = polled(&mut decoder);
        assert_eq!((got, errors.len()), (frames, 1), "{errors:?}");
        assert!(errors[0].contains("ogg page"), "{errors:?}");
        let mut decoder = StreamDecoder::new();
        let mut got = 0;
        for part in parts {
            decoder.push(part);
            decoder.finish();
            let (frames, errors) = polled(&mut decoder);
            assert_eq!(errors, Vec::<String>::new());
            got += frames;
        }
        assert_eq!(got, 44_100 + 48_000);
    }
}

/// Ogg/Opus with one packet a page, made by libopus with or without in-band FEC.
fn speech_pages(fec: bool) -> (Vec<u8>, Vec<Vec<u8>>) {
    let mut encoder = Encoder::new(RATE, Channels::Mono, Application::Voip).expect("encoder");
    encoder.set_bitrate(Bitrate::Bits(32_000)).expect("bitrate");
    encoder.set_inband_fec(fec).expect("fec");
    encoder.set_packet_loss_perc(30).expect("loss");
    let mut spec = PageSpec {
        flags: PageFlags {
            bos: true,
            ..PageFlags::default()
        },
        granule: Some(0),
        serial: 3,
        sequence: 0,
    };
    let mut headers = write_page(&spec, &[&Head::simple(1, 312, RATE).to_bytes()]);
    spec.flags.bos = false;
    spec.sequence = 1;
    headers.extend(write_page(&spec, &[&Tags::default().to_bytes()]));
    let mut pages = Vec::new();
    for packet in 0..150u64 {
        // A voice whose pitch and loudness change, so that extrapolation alone is wrong.
        let pcm: Vec<f32> = (0..960)
            .map(|i| {
                let t = (packet * 960 + i) as f64 / f64::from(RATE);
                let phase = 130.0 * t + 3.0 * (t * 9.0).sin();
                let voice: f64 = (1..14)
                    .map(|n| (std::f64::consts::TAU * f64::from(n) * phase).sin() / f64::from(n))
                    .sum();
                (0.2 * voice * (0.6 + 0.4 * (t * 37.0).sin())) as f32
            })
            .collect();
        let packed = encoder.encode_vec_float(&pcm, 1500).expect("encodes");
        spec.sequence += 1;
        spec.granule = Some((packet + 1) * 960);
        spec.flags.eos = packet == 149;
        pages.push(write_page(&spec, &[&packed]));
    }
    (headers, pages)
}

#[test]
fn a_lost_opus_packet_is_restored_from_the_next_one_or_extrapolated() {
    let mut quality = [0.0; 2];
    for (fec, quality) in [false, true].into_iter().zip(&mut quality) {
        let (headers, pages) = speech_pages(fec);
        let whole = decoded(&[headers.clone(), pages.concat()].concat())
            .remove(0)
            .remove(0);
        let (mut lost, mut made) = (Vec::new(), Vec::new());
        for drop in (20..140).step_by(10) {
            let mut player = Player::new(RATE, 1);
            player.engine.push_bytes(0.0, &headers);
            for (index, page) in pages.iter().enumerate().filter(|(index, _)| *index != drop) {
                assert_ne!(index, drop);
                player.engine.push_bytes(0.0, page);
            }
            player.play_out();
            let heard = &player.heard[0];
            assert_eq!(heard.len(), whole.len(), "time is kept");
            assert_eq!(player.engine.stats(0).concealed_frames, 960);
            let at = drop * 960 - 312;
            assert_eq!(heard[..at], whole[..at], "nothing before the loss changes");
            lost.extend_from_slice(&whole[at..at + 960]);
            made.extend_from_slice(&heard[at..at + 960]);
        }
        assert!(rms(&made) > 0.5 * rms(&lost), "silence is no concealment");
        *quality = snr_db(&lost, &made);
    }
    println!(
        "extrapolated {:.1} dB, from redundancy {:.1} dB",
        quality[0], quality[1]
    );
    assert!(
        quality[1] > 5.0 && quality[1] > quality[0] + 4.0,
        "{quality:?}"
    );
}

#[test]
fn a_lost_mp3_frame_is_repeated_and_faded() {
    require(&["ffmpeg"]);
    let mp3 = encoded(&sine(44_100, 1, 2.0), Encoding::Mp3(&["-b:a", "128k"]));
    let messages = programme(&[mp3], 20);
    let play = |drop: std::ops::Range<usize>| {
        let mut player = Player::new(44_100, 1);
        for (_, message) in messages
            .iter()
            .enumerate()
            .filter(|(i, _)| !drop.contains(i))
        {
            player.message(message);
        }
        player.play_out();
        (
            player.engine.stats(0).concealed_frames,
            player.heard.remove(0),
        )
    };
    let (none, whole) = play(0..0);
    assert_eq!((none, whole.len()), (0, 88_200));
    let at = |index: usize| match &messages[index] {
        Message::Chunk(chunk) => frames(chunk.media_time, 44_100),
        Message::Config(..) => panic!("config"),
    };
    // One frame, then six: repeated, faded, silent; and time is kept.
    for lost in [1, 6] {
        let (concealed, heard) = play(40..40 + lost);
        assert_eq!(heard.len(), whole.len());
        assert!(concealed >= 1152 * lost as u64, "{concealed}");
        let hole = &heard[at(40)..at(40 + lost)];
        let loudness: Vec<f64> = hole.chunks(1152).map(rms).collect();
        assert!(loudness[0] > 0.5 * rms(&whole), "{loudness:?}");
        assert!(loudness.windows(2).all(|w| w[1] <= w[0]), "{loudness:?}");
        assert!(lost < 6 || loudness[5] == 0.0, "{loudness:?}");
        // Two frames later all is well again.
        let after = at(40 + lost + 3);
        assert!(snr_db(&whole[after..], &heard[after..]) > 60.0);
    }
}

/// A chunk as the relay sends it first: MP3 frames whose bytes lie before it decode nothing.
fn opened(message: &Message) -> Message {
    let Message::Chunk(chunk) = message else {
        panic!("a chunk");
    };
    let mut chunk = chunk.clone();
    let head = seamcast_media::mp3::open(&chunk.payload, 0).head;
    chunk.payload[..head.len()].copy_from_slice(&head);
    Message::Chunk(chunk)
}

/// Plays from message `first` on, after a seek, and says where it begins.
fn joined(
    rate: u32,
    messages: &[Message],
    first: usize,
    aim: Option<MediaTime>,
) -> (Player, usize) {
    let mut player = Player::new(rate, 2);
    // The relay answers with the headers and a chunk in the middle.
    player
        .engine
        .seek(0.0, aim.unwrap_or(MediaTime::ZERO), aim.is_some());
    player.message(&messages[0]);
    player.message(&opened(&messages[first]));
    for message in &messages[first + 1..] {
        player.message(message);
    }
    player.play_out();
    let playing = player.events.iter().find_map(|event| match event {
        Event::Playing { media, .. } => Some(frames(*media, rate)),
        _ => None,
    });
    (player, playing.expect("playing"))
}

/// The end of an MP3's last frame is padding, of which only its first frame tells.
fn assert_to_the_end(player: &Player, rest: &[f32]) {
    let more = player.heard[0].len() as i64 - rest.len() as i64;
    assert!((0..1_152).contains(&more), "{more} frames more");
}

fn position(message: &Message) -> MediaTime {
    match message {
        Message::Chunk(chunk) => chunk.media_time,
        Message::Config(..) => panic!("a chunk"),
    }
}

#[test]
fn a_join_in_the_middle_is_right_from_its_first_frame() {
    require(&["ffmpeg"]);
    let noise = Pcm::noise(RATE, 2, 3 * RATE as usize, 0.3, 5);
    let opus = encoded(&noise, Encoding::Opus(&["-b:a", "96k"]));
    let whole = decoded(&opus).remove(0).remove(0);
    let messages = programme(std::slice::from_ref(&opus), 100);
    for skipped in [1, 7, 15] {
        let (player, playing) = joined(RATE, &messages, 1 + skipped, None);
        // 80 ms of it are decoded and not heard (RFC 7845 §4.6), and the position says so.
        let at = frames(position(&messages[1 + skipped]), RATE) + 80 * 48;
        assert_eq!(player.heard[0].len(), whole.len() - at);
        assert_eq!(playing, at);
        let db = snr_db(&whole[at..at + 960], &player.heard[0][..960]);
        // The error of the band energies halves with each packet.
        assert!(db > 15.0, "{db} dB at {at}");
        let later = 200 * 48;
        assert!(snr_db(&whole[at + later..], &player.heard[0][later..]) > 55.0);
    }
}

#[test]
fn a_seek_begins_at_the_very_frame_asked_for() {
    require(&["ffmpeg"]);
    let noise = Pcm::noise(RATE, 2, 3 * RATE as usize, 0.3, 6);
    // A player asks for 100 ms more than it wants.
    let asked = MediaDuration::from_millis(100);
    for (encoding, db_at_first) in [
        (Encoding::Opus(&["-b:a", "96k"]), 15.0),
        (Encoding::Mp3(&["-b:a", "128k"]), 60.0),
    ] {
        let bytes = encoded(&noise, encoding);
        let whole = decoded(&bytes).remove(0).remove(0);
        let messages = programme(std::slice::from_ref(&bytes), 100);
        for aim in [500, 777, 1_000, 1_999] {
            let aim = MediaTime::ZERO + MediaDuration::from_millis(aim);
            let first = messages
                .iter()
                .rposition(|m| matches!(m, Message::Chunk(c) if c.media_time <= aim - asked))
                .expect("a chunk");
            let (player, playing) = joined(RATE, &messages, first, Some(aim));
            let at = frames(aim, RATE);
            assert_eq!(playing, at);
            assert_to_the_end(&player, &whole[at..]);
            let db = snr_db(&whole[at..at + 960], &player.heard[0][..960]);
            assert!(db > db_at_first, "{db} dB at {at}");
        }
        // An answer from elsewhere is played as it is.
        let far = MediaTime::ZERO + MediaDuration::from_millis(2_500);
        let (_, playing) = joined(RATE, &messages, 2, Some(far));
        assert!(playing < RATE as usize / 2, "{playing}");
    }
}

#[test]
fn an_mp3_join_begins_with_its_first_right_frame() {
    require(&["ffmpeg"]);
    let noise = Pcm::noise(RATE, 2, 3 * RATE as usize, 0.3, 7);
    let mp3 = encoded(&noise, Encoding::Mp3(&["-b:a", "128k"]));
    let whole = decoded(&mp3).remove(0).remove(0);
    let messages = programme(std::slice::from_ref(&mp3), 100);
    let mut latest = 0;
    for first in [3, 9, 14] {
        let named = frames(position(&messages[first]), RATE);
        let (player, at) = joined(RATE, &messages, first, None);
        latest = latest.max(at - named);
        assert_to_the_end(&player, &whole[at..]);
        let db = snr_db(&whole[at..at + 1_152], &player.heard[0][..1_152]);
        assert!(db > 60.0, "{db} dB at {at}");
    }
    // Up to two frames without their bytes, and the one that they overlap.
    assert!((2 * 1_152..=3 * 1_152).contains(&latest), "{latest}");
}
