//! Every file of a decode corpus (`SEAMCAST_CORPUS`) against the reference programs.

mod decode_common;

use decode_common::{CorpusFile, corpus, decode, on_all_cores};
use tests::support::{Match, compare, ffmpeg_decode, mpg123_decode, opusdec_decode, require};

/// What is wrong with our decode of a strict file, or nothing.
fn judge(file: &CorpusFile) -> Result<String, String> {
    let bytes = std::fs::read(&file.path).map_err(|e| e.to_string())?;
    let ours = decode(&bytes, 0);
    if ours.frames() != file.samples {
        return Err(format!(
            "{} frames, {} expected",
            ours.frames(),
            file.samples
        ));
    }
    let ffmpeg = |decoder| ffmpeg_decode(&file.path, decoder, file.sample_rate, file.channels);
    let reference = match file.codec.as_str() {
        // What libopusfile refuses, ffmpeg decodes with libopus.
        "opus" => opusdec_decode(&file.path).or_else(|_| ffmpeg(Some("libopus"))),
        _ => mpg123_decode(&file.path),
    }
    .map_err(|e| e.to_string())?;
    let errors = ours.errors.len();
    let ours = ours.pcm();
    if (reference.sample_rate, reference.channels) != (ours.sample_rate, ours.channels) {
        return Err(format!(
            "{} Hz × {}, reference has {} Hz × {}",
            ours.sample_rate, ours.channels, reference.sample_rate, reference.channels
        ));
    }
    let matched = compare(&reference, &ours);
    if matched.length_difference != 0 {
        return Err(format!("reference has {} frames", reference.frames()));
    }
    // Where versions of libopus differ, no decoder can be closer than they are.
    let need = file.drift_db.map_or(80.0, |drift| (drift - 1.0).min(80.0));
    let close = |m: &Match| m.snr_db >= need || m.largest_error <= 1.0 / 32768.0;
    if close(&matched) && errors == 0 {
        return Ok(format!(
            "{:.1} dB, error {:.2e}",
            matched.snr_db, matched.largest_error
        ));
    }
    // ffmpeg's libopus wrapper reorders the channels even of mapping family
    // 255, which has no order (RFC 7845 §5.1.1.3); its own decoder does not.
    if file.codec == "opus" && errors == 0 {
        let other = ffmpeg(Some("opus")).map_err(|e| e.to_string())?;
        let matched = compare(&other, &ours);
        if matched.length_difference == 0 && close(&matched) {
            return Ok(format!(
                "{:.1} dB against ffmpeg's own decoder",
                matched.snr_db
            ));
        }
    }
    // Streams that break the standard: mpg123 and ffmpeg make different audio
    // of the same number of frames, so only that number can be asked for.
    if file.codec == "mp3" {
        let other = ffmpeg(None).map_err(|e| e.to_string())?;
        let apart = compare(&reference, &other);
        if !close(&apart) {
            return Ok(format!(
                "references are {:.1} dB apart, {errors} errors",
                apart.snr_db
            ));
        }
    }
    Err(format!("{matched:?}, needs {need} dB; {errors} errors"))
}

#[test]
fn strict_files_match_the_references() {
    require(&["opusdec", "mpg123", "ffmpeg"]);
    let Some(files) = corpus() else { return };
    let strict: Vec<_> = files.into_iter().filter(|f| f.class == "strict").collect();
    let results = on_all_cores(&strict, judge);
    let mut failed = 0;
    for (file, result) in strict.iter().zip(&results) {
        match result {
            Ok(how) => println!("ok    {}: {how}", file.name),
            Err(why) => {
                failed += 1;
                println!("WRONG {}: {why}", file.name);
            }
        }
    }
    println!(
        "{} of {} strict files match",
        strict.len() - failed,
        strict.len()
    );
    assert_eq!(failed, 0);
    assert!(!strict.is_empty());
}

#[test]
fn cutting_changes_nothing() {
    let Some(files) = corpus() else { return };
    let wrong: Vec<_> = on_all_cores(&files, |file| {
        let bytes = std::fs::read(&file.path).expect("corpus file");
        let whole = decode(&bytes, 0);
        let small = bytes.len() < 200_000;
        [1, 2, 3, 4].into_iter().find_map(|seed| {
            if seed == 1 && !small {
                return None;
            }
            let cut = decode(&bytes, seed);
            let same = cut.hash() == whole.hash()
                && cut.errors == whole.errors
                && cut.formats == whole.formats;
            (!same).then(|| {
                format!(
                    "{} seed {seed}: {} and {} frames, errors {:?} and {:?}",
                    file.name,
                    cut.frames(),
                    whole.frames(),
                    cut.errors.first(),
                    whole.errors.first()
                )
            })
        })
    })
    .into_iter()
    .flatten()
    .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn broken_and_disputed_files_do_no_harm() {
    let Some(files) = corpus() else { return };
    let broken: Vec<_> = files.into_iter().filter(|f| f.class != "strict").collect();
    for file in &broken {
        let bytes = std::fs::read(&file.path).expect("corpus file");
        let ours = decode(&bytes, 0);
        assert!(
            ours.planes.iter().flatten().all(|x| x.is_finite()),
            "{}",
            file.name
        );
        println!(
            "{} ({}): {} frames, {} expected, {} errors, {:?}",
            file.name,
            file.class,
            ours.frames(),
            file.samples,
            ours.errors.len(),
            ours.errors.first().map(|e| &e.message)
        );
    }
}
