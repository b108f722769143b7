//! What a source says its body is. Containers are sniffed, whatever is said;
//! only raw PCM must be declared, because its bytes do not tell.

use seamcast_media::pcm::SampleFormat;
use seamcast_media::wav::Format;

use crate::mount::find;

/// Rates taken, Hz.
pub const RATES: std::ops::RangeInclusive<u32> = 4_000..=384_000;
/// Most channels taken.
pub const MAX_CHANNELS: u16 = 8;

/// The declared kind of body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Declared {
    /// Find out from the bytes.
    Sniff,
    /// The same of a file that grows: its header may name less than there is.
    Growing,
    /// Raw PCM.
    Pcm(Format),
    /// Packets that were demuxed already.
    Packets,
}

/// A media type the relay does not take. The client's fault; 415.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsupported(pub String);

impl std::fmt::Display for Unsupported {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unsupported {}

/// Reads a Content-Type and a query.
///
/// # Errors
/// When the type is not audio, or raw PCM is not described fully.
pub fn declared(
    content_type: Option<&str>,
    query: &[(String, String)],
) -> Result<Declared, Unsupported> {
    let content_type = content_type.unwrap_or_default();
    // GStreamer's caps have commas.
    let mut parts = content_type.split([';', ',']);
    let kind = parts.next().unwrap_or_default().trim().to_ascii_lowercase();
    let parameters: Vec<(String, String)> = parts
        .filter_map(|part| part.split_once('='))
        .map(|(name, value)| (name.trim().to_ascii_lowercase(), plain(value).to_owned()))
        .collect();
    let parameter = |name: &str| find(&parameters, name).or_else(|| find(query, name));
    match kind.as_str() {
        "audio/x-raw" | "audio/raw" | "audio/pcm" | "audio/x-pcm" => {
            return pcm(parameter, None).map(Declared::Pcm);
        }
        "audio/l16" => return pcm(parameter, Some(SampleFormat::S16be)).map(Declared::Pcm),
        "audio/basic" | "audio/pcmu" if parameter("format").is_none() => {
            return pcm(
                |name| parameter(name).or_else(|| telephone(name)),
                Some(SampleFormat::Mulaw),
            )
            .map(Declared::Pcm);
        }
        "audio/pcma" if parameter("format").is_none() => {
            return pcm(
                |name| parameter(name).or_else(|| telephone(name)),
                Some(SampleFormat::Alaw),
            )
            .map(Declared::Pcm);
        }
        _ => {}
    }
    if find(query, "format").is_some() {
        return pcm(parameter, None).map(Declared::Pcm);
    }
    let audio = kind.is_empty()
        || kind.starts_with("audio/")
        || matches!(
            kind.as_str(),
            "application/ogg" | "application/octet-stream" | "video/ogg" | "binary/octet-stream"
        );
    if audio {
        return Ok(Declared::Sniff);
    }
    Err(Unsupported(format!(
        "content-type {kind:?} is not audio; send audio/ogg, audio/mpeg, audio/wav or audio/x-raw"
    )))
}

/// A value without its quotes, or the type that GStreamer puts before it:
/// `(string)S16LE`.
fn plain(value: &str) -> &str {
    let value = value.trim();
    let typed = value
        .strip_prefix('(')
        .and_then(|rest| rest.split_once(')'));
    let value = typed.map_or(value, |(_, value)| value.trim());
    value.trim_matches('"')
}

/// RFC 3551: what PCMU and PCMA are when nothing else is said.
fn telephone(name: &str) -> Option<&'static str> {
    match name {
        "rate" => Some("8000"),
        "channels" => Some("1"),
        _ => None,
    }
}

fn pcm<'p>(
    parameter: impl Fn(&str) -> Option<&'p str>,
    fixed: Option<SampleFormat>,
) -> Result<Format, Unsupported> {
    let missing = |name: &str, example: &str| {
        Unsupported(format!(
            "raw PCM needs {name}; declare it like audio/x-raw;format=f32le;rate=24000;channels=1 \
             ({name}={example})"
        ))
    };
    let sample = match (fixed, parameter("format")) {
        (Some(sample), _) => sample,
        (None, Some(name)) => SampleFormat::from_name(name).ok_or_else(|| {
            Unsupported(format!(
                "format {:?} is unknown; use f32le, s16le, s16be, s24le, s32le, u8, mulaw or alaw",
                super::head::shorten(name)
            ))
        })?,
        (None, None) => return Err(missing("format", "f32le")),
    };
    let planar = |layout: &&str| !layout.eq_ignore_ascii_case("interleaved");
    if let Some(layout) = parameter("layout").filter(planar) {
        let layout = super::head::shorten(layout);
        return Err(Unsupported(format!(
            "layout {layout:?} is not taken; send the samples interleaved"
        )));
    }
    let rate = parameter("rate").ok_or_else(|| missing("rate", "24000"))?;
    let sample_rate = rate.parse().ok().filter(|rate| RATES.contains(rate));
    let sample_rate = sample_rate.ok_or_else(|| {
        let rate = super::head::shorten(rate);
        Unsupported(format!(
            "rate {rate:?} is not from {} to {} Hz",
            RATES.start(),
            RATES.end()
        ))
    })?;
    // RFC 2586 §4: L16 without the parameter is mono.
    let channels = parameter("channels").unwrap_or("1");
    let count = channels
        .parse()
        .ok()
        .filter(|n| (1..=MAX_CHANNELS).contains(n));
    let channels = count.ok_or_else(|| {
        let channels = super::head::shorten(channels);
        Unsupported(format!(
            "channels {channels:?} is not from 1 to {MAX_CHANNELS}"
        ))
    })?;
    Ok(Format {
        sample,
        sample_rate,
        channels,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raw_needs_its_description() {
        let raw = |text: &str| declared(Some(text), &[]);
        let format = |sample, sample_rate, channels| {
            Ok(Declared::Pcm(Format {
                sample,
                sample_rate,
                channels,
            }))
        };
        assert_eq!(
            raw("audio/x-raw;format=f32le;rate=24000;channels=1"),
            format(SampleFormat::F32le, 24_000, 1)
        );
        assert_eq!(
            raw("audio/L16; rate=\"44100\"; channels=2"),
            format(SampleFormat::S16be, 44_100, 2)
        );
        // As GStreamer writes caps.
        assert_eq!(
            raw(
                "audio/x-raw, format=(string)S16LE, layout=(string)interleaved, \
                 rate=(int)48000, channels=(int)2"
            ),
            format(SampleFormat::S16le, 48_000, 2)
        );
        assert_eq!(raw("audio/PCMU"), format(SampleFormat::Mulaw, 8_000, 1));
        let query = [("format", "s16le"), ("rate", "8000"), ("channels", "1")]
            .map(|(a, b)| (a.to_owned(), b.to_owned()));
        assert_eq!(
            declared(None, &query),
            format(SampleFormat::S16le, 8_000, 1)
        );
        for (text, word) in [
            ("audio/x-raw;rate=8000", "format"),
            ("audio/x-raw;format=s16le", "rate"),
            ("audio/x-raw;format=dsd;rate=8000", "dsd"),
            ("audio/x-raw;format=u8;rate=1", "\"1\""),
            ("audio/x-raw, format=(string)U8, rate=(int)1", "\"1\""),
            (
                "audio/x-raw, format=U8, layout=(string)non-interleaved, rate=8000",
                "interleaved",
            ),
            ("audio/x-raw;format=u8;rate=8000;channels=9", "\"9\""),
        ] {
            let why = raw(text).expect_err(text).0;
            assert!(why.contains(word), "{text}: {why}");
        }
    }

    #[test]
    fn only_audio_is_taken() {
        for audio in [
            "",
            "audio/mpeg",
            "application/ogg",
            "audio/aac",
            "application/octet-stream",
        ] {
            assert_eq!(declared(Some(audio), &[]), Ok(Declared::Sniff), "{audio}");
        }
        for other in ["text/html; charset=utf-8", "application/json", "video/mp4"] {
            assert!(declared(Some(other), &[]).is_err(), "{other}");
        }
    }
}
