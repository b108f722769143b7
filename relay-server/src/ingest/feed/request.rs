//! What a source asks for and why it may be refused.

use super::super::session;
use crate::auth::Presented;
use crate::mount::{SourceInfo, Target};

/// What a source asks for, whatever carried the request.
#[derive(Clone, Debug)]
pub struct Request {
    /// Mount and query.
    pub target: Target,
    /// `Content-Type`.
    pub content_type: Option<String>,
    /// Credentials.
    pub presented: Presented,
    /// Who it is.
    pub info: SourceInfo,
}

impl Request {
    /// Reads the headers that describe a source; `header` looks one up by its
    /// lower-case name.
    pub fn new<'h>(
        target: Target,
        peer: String,
        protocol: &'static str,
        header: impl Fn(&str) -> Option<&'h str>,
    ) -> Self {
        let ice = |name: &str| {
            let value = header(&format!("ice-{name}")).or_else(|| header(&format!("icy-{name}")));
            value.unwrap_or_default().chars().take(512).collect()
        };
        let info = SourceInfo {
            peer,
            protocol,
            agent: header("user-agent")
                .unwrap_or_default()
                .chars()
                .take(256)
                .collect(),
            name: ice("name"),
            description: ice("description"),
            genre: ice("genre"),
            url: ice("url"),
        };
        Self {
            presented: Presented::from_request(header("authorization"), target.query("token")),
            content_type: header("content-type").map(str::to_owned),
            target,
            info,
        }
    }
}

/// Why a source is not taken, or not any longer. Says whose fault it is by its
/// status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// HTTP status.
    pub status: u16,
    /// What is wrong and what to do.
    pub message: String,
}

impl Refusal {
    pub(crate) fn new(status: u16, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
        }
    }

    /// The same, naming the mount it is about.
    pub(crate) fn about(mut self, mount: &str) -> Self {
        if !self.message.contains(mount) {
            self.message = format!("mount {mount}: {}", self.message);
        }
        self
    }

    /// A stable identifier for programs.
    pub fn code(&self) -> &'static str {
        match self.status {
            401 => "unauthorized",
            403 => "forbidden",
            408 => "timeout",
            409 => "conflict",
            410 => "taken_over",
            415 => "unsupported_media",
            501 => "not_implemented",
            503 => "overloaded",
            _ => "bad_request",
        }
    }

    /// The WebSocket close code that says it.
    pub fn close_code(&self) -> u16 {
        use seamcast_protocol::close;
        match self.status {
            401 | 403 => close::UNAUTHORIZED,
            409 => close::CONFLICT,
            415 => close::UNSUPPORTED_MEDIA,
            410 => close::TAKEN_OVER,
            408 => close::TOO_SLOW,
            503 => close::OVERLOADED,
            _ => close::BAD_REQUEST,
        }
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Refusal {}

impl From<session::Error> for Refusal {
    fn from(error: session::Error) -> Self {
        Self::new(error.status(), error.to_string())
    }
}
