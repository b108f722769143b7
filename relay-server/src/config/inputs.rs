//! `[[input]]`: audio the relay opens itself.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use seamcast_media::pcm::SampleFormat;
use seamcast_media::rtp::Format;

use super::Secret;
use super::input_keys::missing;
use super::value::Value;
use crate::remote;

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

pub(super) const INPUT_KINDS: [(&str, InputKind); 7] = [
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
    /// Reads `192.0.2.7` or `10.0.0.0/8`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
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

/// A list of networks.
pub(super) fn networks(value: &Value) -> Result<Vec<Network>, String> {
    let wrong = |text: &str| format!("{text:?} is not an address or a network");
    let parse = |text: &String| Network::parse(text).ok_or_else(|| wrong(text));
    value.texts()?.iter().map(parse).collect()
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
    /// Whether every key that its kind needs is there, and what it fetches can
    /// be asked for.
    ///
    /// # Errors
    /// The key, and what would be right.
    pub fn check(&self) -> Result<(), (&'static str, String)> {
        let missing = |key, example: &str| missing(self.kind.name(), key, example);
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
            InputKind::Http => self.check_request(),
            InputKind::File | InputKind::Growing if self.path.as_os_str().is_empty() => {
                missing("path", "path = \"music/\"")
            }
            InputKind::Command if self.command.is_empty() => {
                missing("command", "command = \"ffmpeg -i … -f ogg -\"")
            }
            _ => Ok(()),
        }
    }

    fn check_request(&self) -> Result<(), (&'static str, String)> {
        remote::url(self.url.reveal()).map_err(|why| ("url", why))?;
        for line in self.headers.iter().map(Secret::reveal) {
            let (name, value) = line.split_once(':').unwrap_or((line, ""));
            remote::header(name, value).map_err(|why| ("headers", why))?;
        }
        Ok(())
    }

    /// Whether none of `others` listens where it does, or reads what it reads.
    ///
    /// # Errors
    /// The key, and who does.
    pub fn check_beside(&self, others: &[Self]) -> Result<(), (&'static str, String)> {
        let is_stdin = |input: &&Self| input.kind == InputKind::Stdin;
        if let Some(other) = others.iter().find(is_stdin).filter(|_| is_stdin(&self)) {
            let why = format!(
                "there is one standard input, and the input of mount {:?} reads it; \
                 take kind = \"command\" for one of them",
                other.mount
            );
            return Err(("kind", why));
        }
        let all = others.iter().flat_map(|other| {
            let ports = other.ports().into_iter().flatten();
            ports.map(move |port| (other, port))
        });
        for own in self.ports().into_iter().flatten() {
            let mut taken = all.clone().filter(|(_, port)| collide(own.at, port.at));
            if let Some((other, port)) = taken.next() {
                let why = format!(
                    "the input of mount {:?} wants {own}, but UDP port {} is taken by the input of mount {:?} ({port}); \
                     give one of them another port{}",
                    self.mount,
                    own.at.port(),
                    other.mount,
                    match own.rtcp_of.or(port.rtcp_of) {
                        Some(_) => ": rtp takes two, the one above for RTCP",
                        None => "",
                    },
                );
                return Err(("listen", why));
            }
        }
        Ok(())
    }

    /// Where it waits for datagrams.
    fn ports(&self) -> [Option<Port>; 2] {
        let own = |at, rtcp_of| Port { at, rtcp_of };
        match (self.kind, self.listen) {
            (InputKind::Udp, Some(at)) => [Some(own(at, None)), None],
            (InputKind::Rtp, Some(at)) => {
                let rtcp = rtcp_of(at).map(|rtcp| own(rtcp, Some(at)));
                [Some(own(at, None)), rtcp]
            }
            _ => [None, None],
        }
    }
}

/// Where RTCP of the RTP at `address` comes: one port above (RFC 3550 §11).
pub(crate) fn rtcp_of(address: SocketAddr) -> Option<SocketAddr> {
    // Port 0 is any that is free, and nobody knows whether the next one is.
    let port = address.port().checked_add(1).filter(|port| *port > 1)?;
    Some(SocketAddr::new(address.ip(), port))
}

/// A UDP port that an input listens at.
#[derive(Clone, Copy)]
struct Port {
    at: SocketAddr,
    /// The RTP address whose control packets it is for.
    rtcp_of: Option<SocketAddr>,
}

impl std::fmt::Display for Port {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.rtcp_of {
            Some(rtp) => write!(f, "{} for RTCP of {rtp}", self.at),
            None => write!(f, "{}", self.at),
        }
    }
}

/// Whether a second socket cannot have its address: a wildcard one has all of
/// its family, that of IPv6 those of IPv4, too.
fn collide(one: SocketAddr, other: SocketAddr) -> bool {
    let covers = |wide: SocketAddr, narrow: SocketAddr| {
        wide.ip().is_unspecified() && (wide.is_ipv6() || narrow.is_ipv4())
    };
    // Port 0 is any that is free.
    one.port() == other.port()
        && one.port() != 0
        && (one == other || covers(one, other) || covers(other, one))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_collide_by_address_and_wildcard() {
        let at = |text: &str| text.parse::<SocketAddr>().expect(text);
        for (one, other, wanted) in [
            ("127.0.0.1:5004", "127.0.0.1:5004", true),
            ("127.0.0.1:5004", "127.0.0.1:5006", false),
            ("127.0.0.1:5004", "127.0.0.2:5004", false),
            ("0.0.0.0:5004", "127.0.0.2:5004", true),
            ("[::]:5004", "127.0.0.2:5004", true),
            ("[::]:5004", "0.0.0.0:5004", true),
            ("0.0.0.0:5004", "[::1]:5004", false),
            ("127.0.0.1:0", "127.0.0.1:0", false),
        ] {
            let (one, other) = (at(one), at(other));
            assert_eq!(collide(one, other), wanted, "{one} {other}");
            assert_eq!(collide(other, one), wanted, "{other} {one}");
        }
    }

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
}
