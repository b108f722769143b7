//! The keys of `[[input]]` and `[[forward]]`: how they are set and shown.

use std::time::Duration;

use seamcast_media::pcm::SampleFormat;
use seamcast_media::rtp::Format;

use super::forwards::{FORWARD_KINDS, Forward};
use super::inputs::{INPUT_KINDS, Input, networks};
use super::keys::{Key, key};
use super::value::{show_duration, show_text};
use super::{Secret, Value};

/// Why an entry is not complete: the key, and what to write.
pub(super) fn missing(
    kind: &str,
    key: &'static str,
    example: &str,
) -> Result<(), (&'static str, String)> {
    Err((key, format!("missing for kind {kind:?}; write {example}")))
}

fn named<T: Copy>(value: &Value, names: &[(&str, T)]) -> Result<T, String> {
    let text = value.text()?;
    let found = names.iter().find(|(name, _)| *name == text);
    found.map(|(_, kind)| *kind).ok_or_else(|| {
        let names: Vec<&str> = names.iter().map(|(name, _)| *name).collect();
        format!("{text:?} is not one of {}", names.join(", "))
    })
}

fn payload_type(text: &str) -> Result<(u8, Format), String> {
    let wrong = || {
        format!(
            "{text:?} is not like \"97=opus/48000/2\", \"97=L16/8000\", \"98=PCMA/8000\" or \"0\""
        )
    };
    let (number, encoding) = match text.split_once('=') {
        Some((number, encoding)) => (number, Some(encoding)),
        None => (text, None),
    };
    let number: u8 = number.trim().parse().map_err(|_| wrong())?;
    let format = match encoding {
        Some(encoding) => Format::from_encoding(encoding),
        None => Format::from_static(number),
    };
    format
        .filter(|_| number < 128)
        .map(|format| (number, format))
        .ok_or_else(wrong)
}

fn show_payload_type((number, format): &(u8, Format)) -> String {
    let encoding = match *format {
        Format::Opus { channels } => format!("opus/48000/{channels}"),
        Format::Pcm {
            sample,
            rate,
            channels,
        } => {
            let name = match sample {
                SampleFormat::Mulaw => "PCMU",
                SampleFormat::Alaw => "PCMA",
                SampleFormat::U8 => "L8",
                _ => "L16",
            };
            format!("{name}/{rate}/{channels}")
        }
    };
    show_text(&format!("{number}={encoding}"))
}

fn list(items: impl Iterator<Item = String>) -> Option<String> {
    let items: Vec<String> = items.collect();
    Some(format!("[{}]", items.join(", ")))
}

fn shown_path(path: &std::path::Path) -> Option<String> {
    (!path.as_os_str().is_empty()).then(|| show_text(&path.to_string_lossy()))
}

pub(super) const INPUT: &[Key<Input>] = &[
    key!(
        "kind",
        "udp, rtp, http, file, growing, stdin or command",
        |i, v| {
            i.kind = named(v, &INPUT_KINDS)?;
            Ok(())
        },
        |i| Some(show_text(i.kind.name()))
    ),
    key!(
        "mount",
        "the mount it feeds",
        |i, v| {
            i.mount = super::keys::mount_name(v)?;
            Ok(())
        },
        |i| Some(show_text(&i.mount))
    ),
    key!(
        "listen",
        "udp, rtp: address and port where packets arrive",
        |i, v| {
            i.listen = Some(super::keys::address(v)?);
            Ok(())
        },
        |i| i.listen.map(|a| show_text(&a.to_string()))
    ),
    key!(
        "sdp",
        "rtp: session description file that names the payload types",
        |i, v| {
            i.sdp = Some(v.text()?.into());
            Ok(())
        },
        |i| i.sdp.as_deref().and_then(shown_path)
    ),
    key!(
        "payload_types",
        "rtp: payload types such as [\"97=opus/48000/2\", \"98=L16/16000\"]; 0, 8, 10 and 11 are known",
        |i, v| {
            i.payload_types = v
                .texts()?
                .iter()
                .map(|t| payload_type(t))
                .collect::<Result<_, _>>()?;
            Ok(())
        },
        |i| list(i.payload_types.iter().map(show_payload_type))
    ),
    key!(
        "format",
        "raw PCM: f32le, s16le, s16be, s24le, s32le, u8, mulaw or alaw; a stream with headers needs none",
        |i, v| {
            let text = v.text()?;
            let format = SampleFormat::from_name(&text);
            i.format = Some(format.ok_or_else(|| format!("{text:?} is no sample format"))?);
            Ok(())
        },
        |i| i.format.map(|f| show_text(f.name()))
    ),
    key!(
        "rate",
        "raw PCM: frames per second",
        |i, v| {
            i.rate = v.integer(4_000..=384_000)? as u32;
            Ok(())
        },
        |i| Some(i.rate.to_string())
    ),
    key!(
        "channels",
        "raw PCM: channels, 1 to 8",
        |i, v| {
            i.channels = v.integer(1..=8)? as u16;
            Ok(())
        },
        |i| Some(i.channels.to_string())
    ),
    key!(
        "hold_back_ms",
        "rtp: how long a missing packet is waited for",
        |i, v| {
            i.hold_back = Duration::from_millis(v.integer(0..=5_000)?);
            Ok(())
        },
        |i| Some(i.hold_back.as_millis().to_string())
    ),
    key!(
        "timeout",
        "udp, rtp: silence that ends the programme; growing: time without growth that ends it; http: time without an answer",
        |i, v| {
            i.timeout = v.duration()?.max(Duration::from_millis(100));
            Ok(())
        },
        |i| Some(show_duration(i.timeout))
    ),
    key!(
        "allow",
        "udp, rtp: addresses that may send, such as [\"192.0.2.7\", \"10.0.0.0/8\"]; all when empty",
        |i, v| {
            i.allow = networks(v)?;
            Ok(())
        },
        |i| list(i.allow.iter().map(|n| show_text(&n.to_string())))
    ),
    key!(
        "chunk_ms",
        "chunk length of the mount; udp and rtp take 40 when absent, others the mount's own",
        |i, v| {
            i.chunk = Duration::from_millis(v.integer(20..=5000)?);
            Ok(())
        },
        |i| (!i.chunk.is_zero()).then(|| i.chunk.as_millis().to_string())
    ),
    key!(
        "url",
        "http: what to fetch; may hold user:password@",
        |i, v| {
            i.url = Secret::new(v.text()?);
            Ok(())
        },
        |_| None
    ),
    key!(
        "method",
        "http: request method",
        |i, v| {
            let text = v.text()?.to_ascii_uppercase();
            if text.is_empty() || !text.bytes().all(|b| b.is_ascii_uppercase()) {
                return Err(format!("{text:?} is no HTTP method"));
            }
            i.method = text;
            Ok(())
        },
        |i| Some(show_text(&i.method))
    ),
    key!(
        "headers",
        "http: further request headers such as [\"Authorization: Bearer …\"]; not shown",
        |i, v| {
            let texts = v.texts()?;
            if texts.iter().any(|text| !text.contains(':')) {
                return Err("a header is \"Name: value\"".into());
            }
            i.headers = texts.into_iter().map(Secret::new).collect();
            Ok(())
        },
        |_| None
    ),
    key!(
        "body",
        "http: request body; not shown",
        |i, v| {
            i.body = Secret::new(v.text()?);
            Ok(())
        },
        |_| None
    ),
    key!(
        "on_demand",
        "http: fetch only while somebody listens",
        |i, v| {
            i.on_demand = v.boolean()?;
            Ok(())
        },
        |i| Some(i.on_demand.to_string())
    ),
    key!(
        "path",
        "file, growing: file, folder or playlist (m3u, pls)",
        |i, v| {
            i.path = v.text()?.into();
            Ok(())
        },
        |i| shown_path(&i.path)
    ),
    key!(
        "loop",
        "file: begin again at the end",
        |i, v| {
            i.repeat = v.boolean()?;
            Ok(())
        },
        |i| Some(i.repeat.to_string())
    ),
    key!(
        "shuffle",
        "file: play in random order",
        |i, v| {
            i.shuffle = v.boolean()?;
            Ok(())
        },
        |i| Some(i.shuffle.to_string())
    ),
    key!(
        "command",
        "command: shell command whose standard output is the audio",
        |i, v| {
            i.command = v.text()?;
            Ok(())
        },
        |i| (!i.command.is_empty()).then(|| show_text(&i.command))
    ),
];

pub(super) const FORWARD: &[Key<Forward>] = &[
    key!(
        "kind",
        "udp, rtp or icecast",
        |f, v| {
            f.kind = named(v, &FORWARD_KINDS)?;
            Ok(())
        },
        |f| Some(show_text(f.kind.name()))
    ),
    key!(
        "mount",
        "the mount whose audio is passed on",
        |f, v| {
            f.mount = super::keys::mount_name(v)?;
            Ok(())
        },
        |f| Some(show_text(&f.mount))
    ),
    key!(
        "to",
        "udp, rtp: targets such as [\"192.0.2.7:5004\"]",
        |f, v| {
            let targets = v.texts()?;
            for target in &targets {
                let (host, port) = target.rsplit_once(':').unwrap_or_default();
                let port = port.parse().unwrap_or(0_u16);
                // What is before the port is no URL.
                if port == 0 || host.is_empty() || host.contains(['/', ' ', '@']) {
                    return Err(format!("{target:?} is not host:port"));
                }
            }
            f.to = targets;
            Ok(())
        },
        |f| list(f.to.iter().map(|t| show_text(t)))
    ),
    key!(
        "payload_type",
        "rtp: payload type of RTP made from Opus",
        |f, v| {
            f.payload_type = v.integer(96..=127)? as u8;
            Ok(())
        },
        |f| Some(f.payload_type.to_string())
    ),
    key!(
        "url",
        "icecast: http://source:PASSWORD@host:port/mount; not shown",
        |f, v| {
            f.url = Secret::new(v.text()?);
            Ok(())
        },
        |_| None
    ),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, parse, print};

    #[test]
    fn sections_are_read_checked_and_printed() {
        let text = "[[input]]\nkind = \"rtp\"\nmount = \"/voice.opus\"\nlisten = \"127.0.0.1:5004\"\n\
                    payload_types = [\"97=opus/48000/2\"]\nallow = [\"127.0.0.1\"]\n\
                    [[forward]]\nkind = \"rtp\"\nmount = \"/voice.opus\"\nto = [\"127.0.0.1:6000\"]\n";
        let mut config = Config::default();
        parse(text, &mut config).expect("sound");
        let mut again = Config::default();
        parse(&print(&config), &mut again).expect("own output");
        assert_eq!(again, config);
        assert_eq!(
            config.inputs[0].payload_types,
            [(97, Format::Opus { channels: 2 })]
        );

        let wrong = "[[input]]\nkind = \"udp\"\nmount = \"/v.opus\"\nlisten = \"127.0.0.1:1\"\n\n\
                     [[input]]\nkind = \"tcp\"\n\n[[forward]]\nmount = \"/v.opus\"\nto = [\"nowhere\"]\n";
        let mistakes = parse(wrong, &mut Config::default()).expect_err("several");
        let seen: Vec<(usize, &str)> = mistakes.iter().map(|m| (m.line, &*m.key)).collect();
        assert_eq!(
            seen,
            [(1, "input.format"), (7, "input.kind"), (11, "forward.to")]
        );
    }

    #[test]
    fn two_inputs_on_one_port_are_a_mistake() {
        let entry = |kind: &str, mount: &str, listen: &str| {
            format!(
                "[[input]]\nkind = \"{kind}\"\nmount = \"{mount}\"\nformat = \"s16le\"\n\
                 listen = \"{listen}\"\n"
            )
        };
        let [a, b] = [
            entry("udp", "/a.opus", "127.0.0.1:5004"),
            entry("rtp", "/b.opus", "127.0.0.2:5004"),
        ];
        parse(&[&*a, &*b].concat(), &mut Config::default()).expect("one each");
        let c = entry("rtp", "/c.opus", "0.0.0.0:5004");
        let mistakes = parse(&[a, c].concat(), &mut Config::default()).expect_err("one port");
        let [mistake] = &mistakes[..] else {
            panic!("{mistakes:?}");
        };
        assert_eq!((mistake.line, &*mistake.key), (10, "input.listen"));
        for word in ["\"/a.opus\"", "\"/c.opus\"", "5004"] {
            assert!(mistake.message.contains(word), "{mistake}");
        }
    }

    #[test]
    fn the_rtcp_port_of_one_input_is_no_other_inputs() {
        let entry = |kind: &str, mount: &str, port: u16| {
            format!(
                "[[input]]\nkind = \"{kind}\"\nmount = \"{mount}\"\nformat = \"s16le\"\n\
                 listen = \"127.0.0.1:{port}\"\n"
            )
        };
        // (kind and port of two, and which of them says it)
        for (one, other, collide) in [
            (("rtp", 5004), ("rtp", 5005), true),
            (("rtp", 5005), ("rtp", 5004), true),
            (("rtp", 5004), ("udp", 5005), true),
            (("udp", 5005), ("rtp", 5004), true),
            (("udp", 5004), ("rtp", 5005), false),
            (("rtp", 5004), ("rtp", 5006), false),
            (("rtp", 0), ("rtp", 0), false),
            (("rtp", 65535), ("udp", 65534), false),
        ] {
            let text = entry(one.0, "/a.opus", one.1) + &entry(other.0, "/b.opus", other.1);
            let outcome = parse(&text, &mut Config::default());
            let Err(mistakes) = outcome else {
                assert!(!collide, "{text}");
                continue;
            };
            let [mistake] = &mistakes[..] else {
                panic!("{mistakes:?}");
            };
            assert!(collide, "{mistake}");
            assert_eq!((mistake.line, &*mistake.key), (10, "input.listen"));
            for word in ["/a.opus", "/b.opus", "5004", "5005", "RTCP", "another port"] {
                assert!(mistake.message.contains(word), "{word}: {mistake}");
            }
        }
    }

    #[test]
    fn what_cannot_be_fetched_or_pushed_to_is_a_mistake() {
        let http = "[[input]]\nkind = \"http\"\nmount = \"/a.opus\"\n";
        let push = "[[forward]]\nkind = \"icecast\"\nmount = \"/a.opus\"\n";
        let copy = "[[forward]]\nkind = \"udp\"\nmount = \"/a.opus\"\n";
        for (section, line, key) in [
            (http, "url = \"ftp://example.com/x\"", "input.url"),
            (http, "url = \"example.com/x\"", "input.url"),
            (
                http,
                "url = \"http://example.com/x\"\nheaders = [\"Host: x\"]",
                "input.headers",
            ),
            (
                push,
                "url = \"https://source:geheim@example.com/x\"",
                "forward.url",
            ),
            (
                push,
                "url = \"http://source:geheim@example.com/\"",
                "forward.url",
            ),
            (copy, "to = [\"http://example.com:5004\"]", "forward.to"),
            (copy, "to = [\":5004\"]", "forward.to"),
        ] {
            let text = format!("{section}{line}\n");
            let mistakes = parse(&text, &mut Config::default()).expect_err(&text);
            let [mistake] = &mistakes[..] else {
                panic!("{mistakes:?}");
            };
            let at = text.lines().count();
            assert_eq!((mistake.line, &*mistake.key), (at, key), "{text}");
            assert!(!mistake.message.contains("geheim"), "{mistake}");
        }
        for sound in [
            "speech_url = \"\"\n".to_owned(),
            format!("{http}url = \"https://user:p@example.com/x\"\n"),
            format!("{push}url = \"icecast://source:p@example.com/x?a=b\"\n"),
            format!(
                "{}to = [\"[::1]:5004\", \"recorder.example:5004\"]\n",
                copy.replace("udp", "rtp")
            ),
        ] {
            parse(&sound, &mut Config::default()).expect(&sound);
        }
        let mistakes = parse("speech_url = \"api\"\n", &mut Config::default());
        assert_eq!(mistakes.expect_err("no URL")[0].key, "speech_url");
    }
}
