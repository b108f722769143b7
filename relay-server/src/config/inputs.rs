//! `[[input]]` and `[[forward]]`: audio the relay opens itself, and where it
//! passes audio on to.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use seamcast_media::pcm::SampleFormat;
use seamcast_media::rtp::Format;

use super::keys::{Key, key};
use super::value::{show_duration, show_text};
use super::{Secret, Value};

/// Where an input's audio comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum InputKind {
    /// Raw PCM datagrams.
    #[default]
    Udp,
    /// RTP.
    Rtp,
    /// A stream of another server.
    Http,
    /// A file, folder or playlist, paced.
    File,
    /// A file that another program appends to.
    Growing,
    /// The relay's standard input.
    Stdin,
    /// A program's standard output.
    Command,
}

const INPUT_KINDS: [(&str, InputKind); 7] = [
    ("udp", InputKind::Udp),
    ("rtp", InputKind::Rtp),
    ("http", InputKind::Http),
    ("file", InputKind::File),
    ("growing", InputKind::Growing),
    ("stdin", InputKind::Stdin),
    ("command", InputKind::Command),
];

impl InputKind {
    /// Its name in the configuration.
    pub fn name(self) -> &'static str {
        INPUT_KINDS
            .iter()
            .find(|(_, kind)| *kind == self)
            .map_or("", |(name, _)| name)
    }
}

/// Source addresses that are let in: an address and how many of its bits count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

impl Network {
    fn parse(text: &str) -> Option<Self> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits.parse().ok()?)),
            None => (text, None),
        };
        let address: IpAddr = address.trim().parse().ok()?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.unwrap_or(most);
        (bits <= most).then_some(Self { address, bits })
    }

    /// Whether `peer` is one of its addresses. An IPv4 peer of an IPv6 socket
    /// counts as IPv4.
    pub fn contains(&self, peer: IpAddr) -> bool {
        match (self.address, peer.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(peer)) => {
                let differ = u32::from(own) ^ u32::from(peer);
                differ.checked_shr(32 - u32::from(self.bits)).unwrap_or(0) == 0
            }
            (IpAddr::V6(own), IpAddr::V6(peer)) => {
                let differ = u128::from(own) ^ u128::from(peer);
                differ.checked_shr(128 - u32::from(self.bits)).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

impl std::fmt::Display for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

/// One `[[input]]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Input {
    /// Where the audio comes from.
    pub kind: InputKind,
    /// The mount it feeds.
    pub mount: String,
    /// UDP address and port (`udp`, `rtp`).
    pub listen: Option<SocketAddr>,
    /// Session description file (`rtp`).
    pub sdp: Option<PathBuf>,
    /// Dynamic payload types (`rtp`).
    pub payload_types: Vec<(u8, Format)>,
    /// Sample format of raw PCM.
    pub format: Option<SampleFormat>,
    /// Sample rate of raw PCM.
    pub rate: u32,
    /// Channels of raw PCM.
    pub channels: u16,
    /// How long a missing packet is waited for (`rtp`).
    pub hold_back: Duration,
    /// Silence after which a talk ends (`udp`, `rtp`), or a connection is given up.
    pub timeout: Duration,
    /// Who may send (`udp`, `rtp`); everyone when empty.
    pub allow: Vec<Network>,
    /// Chunk length of the mount; zero leaves the mount's own.
    pub chunk: Duration,
    /// What to fetch (`http`).
    pub url: Secret,
    /// HTTP method (`http`).
    pub method: String,
    /// Further request headers, `Name: value` (`http`).
    pub headers: Vec<Secret>,
    /// Request body (`http`).
    pub body: Secret,
    /// Only while somebody listens (`http`).
    pub on_demand: bool,
    /// File, folder or playlist (`file`, `growing`).
    pub path: PathBuf,
    /// Begin again at the end (`file`).
    pub repeat: bool,
    /// Play in random order (`file`).
    pub shuffle: bool,
    /// Program and arguments, run by the shell (`command`).
    pub command: String,
}

impl Default for Input {
    fn default() -> Self {
        Self {
            kind: InputKind::default(),
            mount: String::new(),
            listen: None,
            sdp: None,
            payload_types: Vec::new(),
            format: None,
            rate: 8_000,
            channels: 1,
            hold_back: Duration::from_millis(60),
            timeout: Duration::from_secs(5),
            allow: Vec::new(),
            chunk: Duration::ZERO,
            url: Secret::default(),
            method: "GET".to_owned(),
            headers: Vec::new(),
            body: Secret::default(),
            on_demand: false,
            path: PathBuf::new(),
            repeat: false,
            shuffle: false,
            command: String::new(),
        }
    }
}

impl Input {
    /// Whether every key that its kind needs is there.
    ///
    /// # Errors
    /// The missing key, and an example.
    pub fn check(&self) -> Result<(), (&'static str, String)> {
        let missing = |key, example: &str| {
            let kind = self.kind.name();
            Err((key, format!("missing for kind {kind:?}; write {example}")))
        };
        if self.mount.is_empty() {
            return missing("mount", "mount = \"/voice.opus\"");
        }
        match self.kind {
            InputKind::Udp | InputKind::Rtp if self.listen.is_none() => {
                missing("listen", "listen = \"0.0.0.0:5004\"")
            }
            InputKind::Udp if self.format.is_none() => missing("format", "format = \"s16le\""),
            InputKind::Http if self.url.is_empty() => {
                missing("url", "url = \"http://example.com/stream\"")
            }
            InputKind::File | InputKind::Growing if self.path.as_os_str().is_empty() => {
                missing("path", "path = \"music/\"")
            }
            InputKind::Command if self.command.is_empty() => {
                missing("command", "command = \"ffmpeg -i … -f ogg -\"")
            }
            _ => Ok(()),
        }
    }
}

/// Where audio is passed on to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ForwardKind {
    /// Each datagram of the mount's `udp` input, unchanged.
    #[default]
    Udp,
    /// RTP: the packets of the mount's `rtp` input unchanged, or made from the
    /// mount's Opus.
    Rtp,
    /// Another Icecast server.
    Icecast,
}

const FORWARD_KINDS: [(&str, ForwardKind); 3] = [
    ("udp", ForwardKind::Udp),
    ("rtp", ForwardKind::Rtp),
    ("icecast", ForwardKind::Icecast),
];

impl ForwardKind {
    /// Its name in the configuration.
    pub fn name(self) -> &'static str {
        FORWARD_KINDS
            .iter()
            .find(|(_, kind)| *kind == self)
            .map_or("", |(name, _)| name)
    }
}

/// One `[[forward]]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Forward {
    /// What is sent.
    pub kind: ForwardKind,
    /// The mount whose audio it is.
    pub mount: String,
    /// Targets, `host:port` (`udp`, `rtp`).
    pub to: Vec<String>,
    /// Payload type of RTP made from Opus.
    pub payload_type: u8,
    /// `http://source:PASSWORD@host:port/mount` (`icecast`).
    pub url: Secret,
}

impl Default for Forward {
    fn default() -> Self {
        Self {
            kind: ForwardKind::default(),
            mount: String::new(),
            to: Vec::new(),
            payload_type: 97,
            url: Secret::default(),
        }
    }
}

impl Forward {
    /// Whether every key that its kind needs is there.
    ///
    /// # Errors
    /// The missing key, and an example.
    pub fn check(&self) -> Result<(), (&'static str, String)> {
        let missing = |key, example: &str| {
            let kind = self.kind.name();
            Err((key, format!("missing for kind {kind:?}; write {example}")))
        };
        if self.mount.is_empty() {
            return missing("mount", "mount = \"/voice.opus\"");
        }
        match self.kind {
            ForwardKind::Udp | ForwardKind::Rtp if self.to.is_empty() => {
                missing("to", "to = [\"192.0.2.7:5004\"]")
            }
            ForwardKind::Icecast if self.url.is_empty() => missing(
                "url",
                "url = \"http://source:PASSWORD@example.com:8000/live.opus\"",
            ),
            _ => Ok(()),
        }
    }
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
        "udp, rtp: silence that ends the programme; http: time without an answer",
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
            i.allow = v
                .texts()?
                .iter()
                .map(|text| {
                    Network::parse(text)
                        .ok_or_else(|| format!("{text:?} is not an address or a network"))
                })
                .collect::<Result<_, _>>()?;
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
                let port = target
                    .rsplit_once(':')
                    .and_then(|(_, port)| port.parse().ok());
                if port.is_none_or(|port: u16| port == 0) {
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
    fn networks_contain_their_addresses() {
        let net = |text| Network::parse(text).expect(text);
        let ip = |text: &str| text.parse::<IpAddr>().expect(text);
        assert!(net("10.0.0.0/8").contains(ip("10.200.3.4")));
        assert!(!net("10.0.0.0/8").contains(ip("11.0.0.1")));
        assert!(net("127.0.0.1").contains(ip("::ffff:127.0.0.1")));
        assert!(!net("127.0.0.1").contains(ip("127.0.0.2")));
        assert!(net("0.0.0.0/0").contains(ip("8.8.8.8")));
        assert!(net("fd00::/8").contains(ip("fd12::1")));
        assert_eq!(Network::parse("10.0.0.0/33"), None);
    }

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
}
