//! `[[forward]]`: where the relay passes audio on to.

use super::Secret;
use super::input_keys::missing;
use super::{Input, InputKind};
use crate::remote::Destination;

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

pub(super) const FORWARD_KINDS: [(&str, ForwardKind); 3] = [
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
    /// Whether every key that its kind needs is there, and its target one that
    /// can be sent to.
    ///
    /// # Errors
    /// The key, and what would be right.
    pub fn check(&self) -> Result<(), (&'static str, String)> {
        let missing = |key, example: &str| missing(self.kind.name(), key, example);
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
            ForwardKind::Icecast => match self.url.reveal().parse::<Destination>() {
                Ok(_) => Ok(()),
                Err(why) => Err(("url", why)),
            },
            _ => Ok(()),
        }
    }

    /// Whether there is anything to copy among what `inputs` receive.
    ///
    /// # Errors
    /// The key, and what would be right.
    pub fn check_beside(&self, inputs: &[Input]) -> Result<(), (&'static str, String)> {
        let copied = |input: &Input| input.kind == InputKind::Udp && input.mount == self.mount;
        if self.kind != ForwardKind::Udp || inputs.iter().any(copied) {
            return Ok(());
        }
        let why = format!(
            "kind = \"udp\" copies the packets of an input of kind \"udp\", and mount {:?} has none; \
             kind = \"rtp\" or \"icecast\" sends any mount",
            self.mount
        );
        Err(("kind", why))
    }
}
