//! Configuration: one table of keys serves the file, the environment, source
//! queries and `--print-config`.

mod fallback;
mod file;
mod flags;
mod forwards;
mod input_keys;
mod inputs;
mod keys;
mod mount_keys;
mod value;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

pub use fallback::Fallback;
pub use file::{Mistake, parse, parse_over, print};
pub use flags::{Flag, flags};
pub use forwards::{Forward, ForwardKind};
pub(crate) use inputs::rtcp_of;
pub use inputs::{Input, InputKind, Network};
pub use value::Value;

/// Text that is never shown.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Keeps `text` out of logs.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, for comparing.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Whether none was given.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_empty() {
            "(none)"
        } else {
            "(secret)"
        })
    }
}

/// Where listeners begin that ask for nothing else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum JoinDefault {
    /// Near the live edge, with the burst.
    #[default]
    Live,
    /// The oldest audio held.
    Start,
}

/// What PCM sources are encoded to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encode {
    /// By the mount's name: `.mp3` is MP3, all else Opus.
    #[default]
    Auto,
    /// Ogg/Opus.
    Opus,
    /// MP3.
    Mp3,
}

/// Properties of one mount.
#[derive(Clone, Debug, PartialEq)]
pub struct Mount {
    /// Wanted length of a chunk.
    pub chunk: Duration,
    /// How much time of chunks is held.
    pub history: Duration,
    /// How many bytes of chunks are held.
    pub history_bytes: u64,
    /// Backlog sent at a live join.
    pub burst: Duration,
    /// What players are told to buffer before they start; zero: measure.
    pub prebuffer: Duration,
    /// Default join point.
    pub join: JoinDefault,
    /// How far a `live` listener may fall behind before it skips.
    pub max_latency: Duration,
    /// Most listeners at once; 0 means no limit.
    pub max_listeners: u64,
    /// Listed by the page and the directory routes.
    pub public: bool,
    /// Whether a second source replaces the first (else it gets 409).
    pub takeover: bool,
    /// How long listeners are held after a source was lost.
    pub grace: Duration,
    /// What plays while no source is there.
    pub fallback: Fallback,
    /// How long a finished mount stays playable.
    pub retention: Duration,
    /// How long a connected source may send nothing.
    pub source_timeout: Duration,
    /// User name of Basic credentials.
    pub username: String,
    /// The source password; the relay's own when empty.
    pub password: Secret,
    /// Further bearer tokens of sources.
    pub tokens: Vec<Secret>,
    /// Tokens that let listen; with none and without `listen_key` everybody may.
    pub listen_tokens: Vec<Secret>,
    /// Key of the JSON Web Tokens that let listen.
    pub listen_key: Secret,
    /// Codec for PCM sources.
    pub encode: Encode,
    /// Bitrate for PCM sources, bit/s; 0 chooses by codec and channels.
    pub bitrate: u32,
    /// Opus encoder complexity, 0 to 10.
    pub complexity: u32,
    /// Whether the programme is recorded.
    pub record: bool,
    /// How.
    pub recording: crate::record::Settings,
}

impl Default for Mount {
    fn default() -> Self {
        Self {
            chunk: Duration::from_millis(100),
            history: Duration::from_secs(300),
            history_bytes: 32 << 20,
            burst: Duration::from_secs(2),
            prebuffer: Duration::ZERO,
            join: JoinDefault::Live,
            max_latency: Duration::from_secs(10),
            max_listeners: 0,
            public: true,
            takeover: true,
            grace: Duration::from_secs(10),
            fallback: Fallback::Nothing,
            retention: Duration::from_secs(600),
            source_timeout: Duration::from_secs(30),
            username: "source".to_owned(),
            password: Secret::default(),
            tokens: Vec::new(),
            listen_tokens: Vec::new(),
            listen_key: Secret::default(),
            encode: Encode::Auto,
            bitrate: 0,
            complexity: 9,
            record: false,
            recording: crate::record::Settings::default(),
        }
    }
}

/// History in memory that a source may ask for, bytes, where the configuration has less.
const MOST_ASKED: u64 = 256 << 20;

impl Mount {
    /// Applies the properties a source may set in its query. Unknown names
    /// are left to others (`?format=`, `?token=`); credentials, `source_timeout` and what
    /// removes recordings cannot be set this way, and memory is bounded.
    ///
    /// # Errors
    /// Names the first value that makes no sense.
    pub fn apply_query(&mut self, query: &[(String, String)]) -> Result<(), String> {
        let most = self.history_bytes.max(MOST_ASKED);
        for (name, text) in query {
            if let Some(key) = mount_keys::mount_query_key(name) {
                // A source must not have the relay read files for it.
                if name == "fallback" && text.starts_with("file:") {
                    return Err("query parameter fallback: only a mount can be asked for".into());
                }
                (key.set)(self, &Value::Text(text.clone()))
                    .map_err(|why| format!("query parameter {name}: {why}"))?;
                if self.history_bytes > most {
                    return Err(format!(
                        "query parameter {name}: {text:?} is more than a source may ask for, {most} bytes; \
                         set it in the relay's configuration"
                    ));
                }
            }
        }
        Ok(())
    }
}

/// Whether a source's query can set a mount's property of this name.
pub(crate) fn is_property(name: &str) -> bool {
    mount_keys::mount_query_key(name).is_some()
}

/// The whole configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Where HTTP is served.
    pub listen: SocketAddr,
    /// Where SHOUTcast sources connect (usually the port above `listen`'s).
    pub shoutcast_listen: Option<SocketAddr>,
    /// The mount that SHOUTcast sources feed.
    pub shoutcast_mount: String,
    /// Folder for recordings; its files are served below `/files/`.
    pub data_dir: Option<PathBuf>,
    /// When a growing file counts as finished without a close.
    pub files_idle: Duration,
    /// The file all this was read from; never served.
    pub config_file: Option<PathBuf>,
    /// Folder of the web page; the embedded one when absent.
    pub web_dir: Option<PathBuf>,
    /// Password of sources without one of their own.
    pub source_password: Secret,
    /// Token for administration.
    pub admin_token: Secret,
    /// Certificate chain in PEM, the server's own first; TLS is off without one.
    pub tls_certificate: Option<PathBuf>,
    /// The certificate's private key in PEM.
    pub tls_key: Option<PathBuf>,
    /// Origins of pages that may open WebSockets and read answers; `*` allows all.
    pub origins: Vec<String>,
    /// Proxies that are believed who their client is.
    pub proxies: Vec<Network>,
    /// Speech service that `POST /v1/audio/speech` is passed on to.
    pub speech_url: Secret,
    /// Its key; callers then need the source password.
    pub speech_key: Secret,
    /// Mount that speech feeds, without its extension.
    pub speech_mount: String,
    /// Whether to make the demo mounts.
    pub demo: bool,
    /// Whether sources may create mounts that are not configured.
    pub open_mounts: bool,
    /// Most mounts at once.
    pub max_mounts: u64,
    /// Most listeners at once.
    pub max_listeners: u64,
    /// Most connections that are not listeners yet.
    pub max_connections: u64,
    /// Fan-out threads; 0 means one per core.
    pub shards: u64,
    /// Write to many listeners in one system call, where the kernel has io_uring.
    pub io_uring: bool,
    /// How long a request's head may take.
    pub head_timeout: Duration,
    /// How long listeners are given to leave at shutdown.
    pub drain: Duration,
    /// Log lines as JSON.
    pub log_json: bool,
    /// File for a line about each listener that left.
    pub access_log: Option<std::path::PathBuf>,
    /// Properties of mounts without an entry of their own.
    pub defaults: Mount,
    /// Mounts with an entry of their own, by path.
    pub mounts: Vec<(String, Mount)>,
    /// Audio the relay opens itself.
    pub inputs: Vec<Input>,
    /// Where audio is passed on to.
    pub forwards: Vec<Forward>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8000)),
            shoutcast_listen: None,
            shoutcast_mount: "/stream".to_owned(),
            data_dir: None,
            files_idle: Duration::from_secs(5),
            config_file: None,
            web_dir: None,
            source_password: Secret::default(),
            admin_token: Secret::default(),
            tls_certificate: None,
            tls_key: None,
            origins: vec!["*".to_owned()],
            proxies: Vec::new(),
            speech_url: Secret::default(),
            speech_key: Secret::default(),
            speech_mount: "/speech".to_owned(),
            demo: false,
            open_mounts: true,
            max_mounts: 256,
            max_listeners: 100_000,
            max_connections: 4096,
            shards: 0,
            io_uring: true,
            head_timeout: Duration::from_secs(15),
            drain: Duration::from_secs(5),
            log_json: false,
            access_log: None,
            defaults: Mount::default(),
            mounts: Vec::new(),
            inputs: Vec::new(),
            forwards: Vec::new(),
        }
    }
}

impl Config {
    /// Properties of the mount at `path`.
    pub fn mount(&self, path: &str) -> Mount {
        self.mounts
            .iter()
            .find(|(name, _)| name == path)
            .map_or_else(|| self.defaults.clone(), |(_, mount)| mount.clone())
    }

    /// Takes what a running relay cannot change from the configuration it runs
    /// with. Returns the keys that differed.
    pub fn keep_from(&mut self, running: &Self) -> Vec<&'static str> {
        fn keep<T: PartialEq + Clone>(own: &mut T, running: &T) -> bool {
            let differs = own != running;
            own.clone_from(running);
            differs
        }
        let kept = [
            ("listen", keep(&mut self.listen, &running.listen)),
            (
                "shoutcast_listen",
                keep(&mut self.shoutcast_listen, &running.shoutcast_listen),
            ),
            ("data_dir", keep(&mut self.data_dir, &running.data_dir)),
            (
                "files_idle",
                keep(&mut self.files_idle, &running.files_idle),
            ),
            ("demo", keep(&mut self.demo, &running.demo)),
            ("shards", keep(&mut self.shards, &running.shards)),
            ("io_uring", keep(&mut self.io_uring, &running.io_uring)),
            ("log_json", keep(&mut self.log_json, &running.log_json)),
            (
                "access_log",
                keep(&mut self.access_log, &running.access_log),
            ),
        ];
        let differing = kept.into_iter().filter(|(_, differs)| *differs);
        differing.map(|(key, _)| key).collect()
    }

    /// Whether a source may feed `path`.
    pub fn may_create(&self, path: &str) -> bool {
        self.open_mounts || self.mounts.iter().any(|(name, _)| name == path)
    }

    /// The password that sources of `mount` must give.
    pub fn password<'a>(&'a self, mount: &'a Mount) -> &'a Secret {
        if mount.password.is_empty() {
            &self.source_password
        } else {
            &mount.password
        }
    }

    /// Whether pages of `origin` may open sockets and read answers.
    pub fn allows_origin(&self, origin: &str) -> bool {
        self.origins
            .iter()
            .any(|allowed| allowed == "*" || allowed.eq_ignore_ascii_case(origin))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_set_what_they_may() {
        let config = Config::default();
        let mut mount = config.mount("/x");
        mount.bitrate = 96_000;
        let query = [
            ("history", "20"),
            ("token", "x"),
            ("join", "start"),
            ("bitrate", "0"),
        ]
        .map(|(a, b)| (a.to_owned(), b.to_owned()));
        mount.apply_query(&query).expect("sound");
        assert_eq!(mount.history, Duration::from_secs(20));
        assert_eq!(mount.join, JoinDefault::Start);
        assert_eq!(mount.bitrate, 0, "left to codec and channels");
        let wrong = [("join".to_owned(), "middle".to_owned())];
        let why = mount.apply_query(&wrong).expect_err("no such join");
        assert!(why.contains("join") && why.contains("middle"), "{why}");
        let denied = [("password", "mine"), ("record_keep", "1s")]
            .map(|(a, b)| (a.to_owned(), b.to_owned()));
        mount.apply_query(&denied).expect("ignored");
        assert!(mount.password.is_empty());
        assert_eq!(mount.recording, config.mount("/x").recording);

        let ask = |bytes: &str| [("history_bytes".to_owned(), bytes.to_owned())];
        mount.apply_query(&ask("256MiB")).expect("allowed");
        let why = mount.apply_query(&ask("1TiB")).expect_err("too much");
        assert!(
            why.contains("history_bytes") && why.contains("1TiB"),
            "{why}"
        );
        mount.history_bytes = 1 << 30;
        mount
            .apply_query(&ask("1GiB"))
            .expect("the configuration's own");
    }
}
