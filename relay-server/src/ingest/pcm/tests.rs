use super::*;
use seamcast_media::demux::Packet;
use seamcast_media::pcm::SampleFormat;

const RATES: [u32; 9] = [
    8_000, 11_025, 16_000, 22_050, 24_000, 44_100, 48_000, 96_000, 192_000,
];

fn settings(codec: Codec) -> Settings {
    Settings {
        codec,
        bitrate: 96_000,
        complexity: 2,
        chunk_ms: 100,
    }
}

fn format(sample: SampleFormat, sample_rate: u32, channels: u16) -> Format {
    Format {
        sample,
        sample_rate,
        channels,
    }
}

/// A sine as f32le, `frames` long.
fn sine(rate: u32, channels: u16, frames: usize) -> Vec<u8> {
    let step = 440.0 * std::f64::consts::TAU / f64::from(rate);
    (0..frames)
        .flat_map(|i| std::iter::repeat_n((0.5 * (step * i as f64).sin()) as f32, channels.into()))
        .flat_map(f32::to_le_bytes)
        .collect()
}

fn run(format: Format, codec: Codec, bytes: &[u8], piece: usize) -> (u32, Vec<Packet>, bool) {
    let mut pipeline = Pipeline::new(format, settings(codec)).expect("pipeline");
    let mut events = Vec::new();
    let mut poll = |pipeline: &mut Pipeline| {
        while let Some(event) = pipeline.poll() {
            events.push(event);
        }
    };
    for piece in bytes.chunks(piece) {
        pipeline.push(piece).expect("push");
        poll(&mut pipeline);
    }
    pipeline.finish().expect("finish");
    poll(&mut pipeline);
    let ended = matches!(events.last(), Some(Event::LinkEnd));
    let rate = events.iter().find_map(|event| match event {
        Event::Config(config) => Some(config.sample_rate),
        _ => None,
    });
    let packets = events.into_iter().filter_map(|event| match event {
        Event::Packet(packet) => Some(packet),
        _ => None,
    });
    (rate.expect("config"), packets.collect(), ended)
}

fn audible(packets: &[Packet]) -> u64 {
    packets
        .iter()
        .map(|p| u64::from(p.duration - p.trim_start - p.trim_end))
        .sum()
}

#[test]
fn length_is_exact_at_every_rate() {
    for rate in RATES {
        let frames = rate as usize / 2 + 13;
        let bytes = sine(rate, 1, frames);
        for codec in [Codec::Opus, Codec::Mp3] {
            let (out, packets, ended) =
                run(format(SampleFormat::F32le, rate, 1), codec, &bytes, 999);
            let expected = (frames as f64 * f64::from(out) / f64::from(rate)).round() as u64;
            assert_eq!(audible(&packets), expected, "{rate} {codec:?}");
            assert!(ended, "{rate} {codec:?}");
        }
    }
}

#[test]
fn opus_comes_out_as_it_went_in() {
    for rate in [24_000, 44_100, 48_000] {
        let bytes = sine(rate, 2, rate as usize);
        let (_, packets, _) = run(
            format(SampleFormat::F32le, rate, 2),
            Codec::Opus,
            &bytes,
            4096,
        );
        let mut decoder = ::opus::Decoder::new(48_000, ::opus::Channels::Stereo).expect("decoder");
        let mut decoded = Vec::new();
        let mut block = vec![0.0; 5760 * 2];
        for packet in &packets {
            let n = decoder
                .decode_float(&packet.payload, &mut block, false)
                .expect("packet");
            let (from, to) = (packet.trim_start as usize, n - packet.trim_end as usize);
            decoded.extend_from_slice(&block[from * 2..to * 2]);
        }
        assert_eq!(decoded.len(), 96_000);
        // Against the ideal sine: right pitch, level and, above all, delay.
        let step = 440.0 * std::f64::consts::TAU / 48_000.0;
        let (mut signal, mut noise) = (0.0, 0.0);
        for (i, pair) in decoded.chunks_exact(2).enumerate().skip(2000).take(40_000) {
            let ideal = 0.5 * (step * i as f64).sin();
            signal += ideal * ideal;
            noise += (f64::from(pair[0]) - ideal).powi(2);
        }
        let snr = 10.0 * (signal / noise).log10();
        assert!(snr > 20.0, "{rate}: {snr:.1} dB");
    }
}

#[test]
fn the_cut_of_the_input_does_not_matter() {
    let bytes = sine(24_000, 1, 12_345);
    let whole = run(
        format(SampleFormat::F32le, 24_000, 1),
        Codec::Opus,
        &bytes,
        usize::MAX,
    );
    for piece in [1, 3, 4, 1000] {
        let cut = run(
            format(SampleFormat::F32le, 24_000, 1),
            Codec::Opus,
            &bytes,
            piece,
        );
        assert!(cut == whole, "{piece}");
    }
}

#[test]
fn surround_is_mixed_without_clipping() {
    for channels in 3..=8_u16 {
        let mut out = Vec::new();
        let samples = vec![1.0; usize::from(channels) * 10];
        mix_down(&samples, channels.into(), &mut out);
        assert_eq!(out.len(), 20);
        assert!(
            out.iter().all(|x| (0.9..=1.000_01).contains(x)),
            "{channels}: {out:?}"
        );
    }
    let bytes = sine(48_000, 6, 4800);
    let (_, packets, _) = run(
        format(SampleFormat::F32le, 48_000, 6),
        Codec::Opus,
        &bytes,
        4096,
    );
    assert_eq!(audible(&packets), 4800);
}

#[test]
fn resampling_keeps_a_sine_clean() {
    let mut resampler = Resampler::new(44_100, 48_000, 1).expect("ratio");
    let step = 997.0 * std::f64::consts::TAU / 44_100.0;
    let input: Vec<f32> = (0..44_100)
        .map(|i| (0.5 * (step * f64::from(i)).sin()) as f32)
        .collect();
    let mut out = Vec::new();
    for piece in input.chunks(333) {
        resampler.push(piece, &mut out).expect("push");
    }
    resampler.finish(&mut out).expect("finish");
    assert_eq!(out.len(), 48_000);
    // The filter's delay is no whole number of frames: what is compared is the
    // sine that fits best, whose phase may be off by less than a frame.
    let step = 997.0 * std::f64::consts::TAU / 48_000.0;
    let middle = 480..47_520;
    let (mut sin, mut cos) = (0.0, 0.0);
    for i in middle.clone() {
        sin += f64::from(out[i]) * (step * i as f64).sin();
        cos += f64::from(out[i]) * (step * i as f64).cos();
    }
    let scale = 2.0 / middle.len() as f64;
    let (sin, cos) = (sin * scale, cos * scale);
    assert!(
        (sin.hypot(cos) - 0.5).abs() < 1e-4,
        "level {}",
        sin.hypot(cos)
    );
    assert!(
        (cos.atan2(sin) / step).abs() < 1.0,
        "delay {}",
        cos.atan2(sin) / step
    );
    let worst = middle
        .map(|i| {
            (f64::from(out[i]) - sin * (step * i as f64).sin() - cos * (step * i as f64).cos())
                .abs()
        })
        .fold(0.0, f64::max);
    assert!(worst < 1e-4, "{worst}");
}
