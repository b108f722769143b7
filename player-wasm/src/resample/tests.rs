use super::*;

fn sine(freq: f64, rate: u32, frames: usize) -> Vec<f32> {
    (0..frames)
        .map(|i| (2.0 * PI * freq * i as f64 / f64::from(rate)).sin() as f32)
        .collect()
}

fn convert(resampler: &mut Resampler, input: &[f32], piece: usize) -> Vec<f32> {
    let mut out = vec![Vec::new()];
    for part in input.chunks(piece) {
        resampler.process(std::iter::once(part), &mut out);
    }
    resampler.finish(&mut out);
    out.remove(0)
}

/// SNR in dB against the ideal sine, away from the ends.
fn snr(out: &[f32], freq: f64, rate: f64) -> f64 {
    let (mut signal, mut noise) = (0.0, 0.0);
    for (i, &x) in out.iter().enumerate().skip(400).take(out.len() - 800) {
        let ideal = (2.0 * PI * freq * i as f64 / rate).sin();
        signal += ideal * ideal;
        noise += (f64::from(x) - ideal).powi(2);
    }
    10.0 * (signal / noise).log10()
}

#[test]
fn sines_survive_every_common_pair_of_rates() {
    for (from, to) in [
        (44_100, 48_000),
        (48_000, 44_100),
        (24_000, 48_000),
        (48_000, 96_000),
        (8_000, 48_000),
        (22_050, 44_100),
        (44_100, 96_000),
        (48_000, 192_000),
        (48_000, 16_000),
        (11_025, 48_000),
    ] {
        let band = f64::from(from.min(to)) / 2.0;
        for part in [0.01, 0.3, 0.7, 0.88] {
            let input = sine(band * part, from, from as usize / 2);
            let out = convert(&mut Resampler::new(from, to, 1), &input, 480);
            let snr = snr(&out, band * part, f64::from(to));
            assert!(
                snr > 120.0,
                "{from} → {to}, {part} of the band: {snr:.1} dB"
            );
        }
    }
}

#[test]
fn a_drifting_ratio_keeps_the_quality() {
    for (from, to) in [(48_000, 48_000), (44_100, 48_000)] {
        for factor in [1.0002, 0.995, 1.005] {
            let mut resampler = Resampler::new(from, to, 1);
            resampler.set_factor(factor);
            let out = convert(&mut resampler, &sine(5_000.0, from, 48_000), 777);
            let snr = snr(&out, 5_000.0 * factor, f64::from(to));
            assert!(snr > 115.0, "{from} → {to} × {factor}: {snr:.1} dB");
        }
    }
}

#[test]
fn leaving_the_bypass_is_seamless() {
    let mut resampler = Resampler::new(48_000, 48_000, 1);
    let input = sine(1_000.0, 48_000, 20_000);
    let mut out = vec![Vec::new()];
    for (i, part) in input.chunks(100).enumerate() {
        if i == 50 {
            resampler.set_factor(1.0001);
        }
        resampler.process(std::iter::once(part), &mut out);
    }
    let turn = 2.0 * (2.0 * PI / 48.0).cos();
    for (i, w) in out[0].windows(3).enumerate() {
        let step = f64::from(w[2]) - turn * f64::from(w[1]) + f64::from(w[0]);
        assert!(step.abs() < 1e-4, "step {step} at {i}");
    }
}

#[test]
fn frames_are_passed_through_again_after_a_correction_without_a_click() {
    for (freq, factor) in [(1_000.0, 1.0001), (1_000.0, 0.995), (19_000.0, 1.000_01)] {
        let mut resampler = Resampler::new(48_000, 48_000, 1);
        let input = sine(freq, 48_000, 90_000);
        let mut out = vec![Vec::new()];
        for (i, part) in input.chunks(100).enumerate() {
            // Two corrections, 0.4 s each, each with 0.4 s after it.
            match i / 180 {
                1 | 3 => resampler.set_factor(factor),
                _ => resampler.set_factor(1.0),
            }
            resampler.process(std::iter::once(part), &mut out);
            assert_eq!(resampler.bypass, resampler.held() == 0);
        }
        assert!(resampler.bypass);
        // No step anywhere, only the bends of a slope that a change of the ratio makes.
        let angle = 2.0 * PI * freq / 48_000.0;
        let turn = 2.0 * angle.cos();
        let allowed = 1e-5 + 1.5 * angle * f64::max((factor - 1.0_f64).abs(), 1.0 / 8_192.0);
        for (i, w) in out[0].windows(3).enumerate() {
            let step = f64::from(w[2]) - turn * f64::from(w[1]) + f64::from(w[0]);
            assert!(step.abs() < allowed, "{freq} Hz: step {step} at {i}");
        }
        // Between and after the corrections it is the input, shifted by whole frames.
        for second in [0.95, 1.6] {
            let at = (48_000.0 * second) as usize;
            let heard = &out[0][at..at + 4_800];
            let found = (at - 500..at + 500).any(|from| input[from..].starts_with(heard));
            assert!(found, "{freq} Hz: changed at {second} s");
        }
    }
}

#[test]
fn what_lies_above_the_band_is_gone() {
    let out = convert(
        &mut Resampler::new(96_000, 44_100, 1),
        &sine(25_000.0, 96_000, 48_000),
        1000,
    );
    let loudest = out[400..out.len() - 400]
        .iter()
        .fold(0f32, |m, x| m.max(x.abs()));
    assert!(loudest < 1e-5, "{loudest}");
}

#[test]
fn lengths_are_exact_and_cuts_do_not_matter() {
    for (from, to) in [
        (44_100u32, 48_000u32),
        (48_000, 44_100),
        (24_000, 48_000),
        (48_000, 48_000),
        (12_345, 67_891),
    ] {
        for frames in [1usize, 2, 147, 1000, 44_100, 50_001] {
            let input = sine(440.0, from, frames);
            let whole = convert(&mut Resampler::new(from, to, 1), &input, usize::MAX);
            let expected = (frames as f64 * f64::from(to) / f64::from(from)).round() as usize;
            assert_eq!(whole.len(), expected, "{from} → {to}, {frames}");
            let cut = convert(&mut Resampler::new(from, to, 1), &input, 7);
            assert!(whole == cut, "{from} → {to}, {frames}");
        }
    }
}

#[test]
fn our_sine_is_the_sine() {
    for i in -3000..3000 {
        let x = f64::from(i) * 0.0173;
        assert!((sin_pi(x) - (PI * x).sin()).abs() < 1e-12, "{x}");
    }
}

#[test]
fn equal_rates_change_nothing() {
    let input = sine(997.0, 48_000, 5_000);
    assert_eq!(
        convert(&mut Resampler::new(48_000, 48_000, 1), &input, 64),
        input
    );
}
