//! Every key: its name, its meaning, how it is set and how it is shown.

use super::value::{show_duration, show_text};
use super::{Config, Encode, JoinDefault, Mount, Secret, Value};

/// One key of a section.
pub(super) struct Key<T> {
    /// Name in the file; `SEAMCAST_NAME` in the environment.
    pub(super) name: &'static str,
    /// One line for people.
    pub(super) help: &'static str,
    /// Sets it.
    pub(super) set: fn(&mut T, &Value) -> Result<(), String>,
    /// Its present value as TOML; `None` when there is none to show.
    pub(super) show: fn(&T) -> Option<String>,
}

macro_rules! key {
    ($name:literal, $help:literal, $set:expr, $show:expr) => {
        Key {
            name: $name,
            help: $help,
            set: $set,
            show: $show,
        }
    };
}
pub(super) use key;

pub(super) fn address(value: &Value) -> Result<std::net::SocketAddr, String> {
    let text = value.text()?;
    text.parse().map_err(|_| {
        format!("{text:?} is not an address and port such as \"127.0.0.1:8000\" or \"[::]:8000\"")
    })
}

fn path(value: &Value) -> Result<Option<std::path::PathBuf>, String> {
    value.text().map(|text| Some(text.into()))
}

pub(super) fn mount_name(value: &Value) -> Result<String, String> {
    let text = value.text()?;
    crate::mount::check_name(&text)
        .map(|()| text.clone())
        .map_err(|why| format!("{text:?}: {why}"))
}

pub(super) const TOP: &[Key<Config>] = &[
    key!(
        "listen",
        "address and port of HTTP",
        |c, v| {
            c.listen = address(v)?;
            Ok(())
        },
        |c| Some(show_text(&c.listen.to_string()))
    ),
    key!(
        "shoutcast_listen",
        "address and port for SHOUTcast/ICY sources (clients use their port + 1); off when absent",
        |c, v| {
            c.shoutcast_listen = Some(address(v)?);
            Ok(())
        },
        |c| c.shoutcast_listen.map(|a| show_text(&a.to_string()))
    ),
    key!(
        "shoutcast_mount",
        "the mount that SHOUTcast sources feed",
        |c, v| {
            c.shoutcast_mount = mount_name(v)?;
            Ok(())
        },
        |c| Some(show_text(&c.shoutcast_mount))
    ),
    key!(
        "data_dir",
        "folder for recordings; its files are served below /files/",
        |c, v| {
            c.data_dir = path(v)?;
            Ok(())
        },
        |c| c.data_dir.as_ref().map(|p| show_text(&p.to_string_lossy()))
    ),
    key!(
        "files_idle",
        "time after its last write at which a growing file counts as finished, when its writer was not seen to close it",
        |c, v| {
            c.files_idle = v.duration()?;
            Ok(())
        },
        |c| Some(show_duration(c.files_idle))
    ),
    key!(
        "web_dir",
        "folder of the web page; the built-in one when absent",
        |c, v| {
            c.web_dir = path(v)?;
            Ok(())
        },
        |c| c.web_dir.as_ref().map(|p| show_text(&p.to_string_lossy()))
    ),
    key!(
        "source_password",
        "password of sources; a random one is printed at start when absent",
        |c, v| {
            c.source_password = Secret::new(v.text()?);
            Ok(())
        },
        |_| None
    ),
    key!(
        "admin_token",
        "bearer token for administration; a random one is printed at start when absent",
        |c, v| {
            c.admin_token = Secret::new(v.text()?);
            Ok(())
        },
        |_| None
    ),
    key!(
        "origins",
        "origins of pages that may listen by WebSocket and read the API; \"*\" allows all",
        |c, v| {
            c.origins = v.texts()?;
            Ok(())
        },
        |c| Some(show_list(&c.origins))
    ),
    key!(
        "speech_url",
        "speech service behind POST /v1/audio/speech, such as \"https://api.openai.com/v1/audio/speech\"; not shown",
        |c, v| {
            c.speech_url = Secret::new(v.text()?);
            Ok(())
        },
        |_| None
    ),
    key!(
        "speech_key",
        "its api key; callers then give the source password as theirs, else their own key is passed on",
        |c, v| {
            c.speech_key = Secret::new(v.text()?);
            Ok(())
        },
        |_| None
    ),
    key!(
        "speech_mount",
        "mount that speech feeds, without its extension",
        |c, v| {
            c.speech_mount = mount_name(v)?;
            Ok(())
        },
        |c| Some(show_text(&c.speech_mount))
    ),
    key!(
        "demo",
        "make the demo mounts /demo.opus and /demo.mp3",
        |c, v| {
            c.demo = v.boolean()?;
            Ok(())
        },
        |c| Some(c.demo.to_string())
    ),
    key!(
        "open_mounts",
        "whether sources may create mounts that have no [[mount]] entry",
        |c, v| {
            c.open_mounts = v.boolean()?;
            Ok(())
        },
        |c| Some(c.open_mounts.to_string())
    ),
    key!(
        "max_mounts",
        "most mounts at once",
        |c, v| {
            c.max_mounts = v.integer(1..=100_000)?;
            Ok(())
        },
        |c| Some(c.max_mounts.to_string())
    ),
    key!(
        "max_listeners",
        "most listeners at once, all mounts together",
        |c, v| {
            c.max_listeners = v.integer(1..=10_000_000)?;
            Ok(())
        },
        |c| Some(c.max_listeners.to_string())
    ),
    key!(
        "max_connections",
        "most connections that are not listening (sources, page, API)",
        |c, v| {
            c.max_connections = v.integer(16..=1_000_000)?;
            Ok(())
        },
        |c| Some(c.max_connections.to_string())
    ),
    key!(
        "shards",
        "fan-out threads; 0 means one per core",
        |c, v| {
            c.shards = v.integer(0..=256)?;
            Ok(())
        },
        |c| Some(c.shards.to_string())
    ),
    key!(
        "head_timeout",
        "how long a request's head may take",
        |c, v| {
            c.head_timeout = v.duration()?.max(std::time::Duration::from_millis(100));
            Ok(())
        },
        |c| Some(show_duration(c.head_timeout))
    ),
    key!(
        "drain",
        "how long listeners are given to leave at shutdown",
        |c, v| {
            c.drain = v.duration()?;
            Ok(())
        },
        |c| Some(show_duration(c.drain))
    ),
    key!(
        "log_json",
        "log lines as JSON",
        |c, v| {
            c.log_json = v.boolean()?;
            Ok(())
        },
        |c| Some(c.log_json.to_string())
    ),
];

pub(super) const MOUNT: &[Key<Mount>] = &[
    key!(
        "chunk_ms",
        "wanted length of a chunk, 20 and up",
        |m, v| {
            m.chunk = std::time::Duration::from_millis(v.integer(20..=5000)?);
            Ok(())
        },
        |m| Some(m.chunk.as_millis().to_string())
    ),
    key!(
        "history",
        "how much time of audio is held in memory",
        |m, v| {
            m.history = v.duration()?;
            Ok(())
        },
        |m| Some(show_duration(m.history))
    ),
    key!(
        "history_bytes",
        "how many bytes of audio are held in memory",
        |m, v| {
            m.history_bytes = v.bytes()?.clamp(64 << 10, 1 << 40);
            Ok(())
        },
        |m| Some(m.history_bytes.to_string())
    ),
    key!(
        "burst",
        "backlog sent at a live join",
        |m, v| {
            m.burst = v.duration()?;
            Ok(())
        },
        |m| Some(show_duration(m.burst))
    ),
    key!(
        "prebuffer",
        "what players should buffer before they start; 0 leaves it to their measuring",
        |m, v| {
            m.prebuffer = v.duration()?;
            Ok(())
        },
        |m| Some(show_duration(m.prebuffer))
    ),
    key!(
        "join",
        "where listeners begin that ask for nothing else: \"live\" or \"start\"",
        |m, v| {
            m.join = match v.text()?.as_str() {
                "live" => JoinDefault::Live,
                "start" => JoinDefault::Start,
                other => return Err(format!("{other:?} is not \"live\" or \"start\"")),
            };
            Ok(())
        },
        |m| Some(show_text(match m.join {
            JoinDefault::Live => "live",
            JoinDefault::Start => "start",
        }))
    ),
    key!(
        "max_latency_ms",
        "how far a live listener may fall behind before it skips",
        |m, v| {
            m.max_latency = std::time::Duration::from_millis(v.integer(100..=86_400_000)?);
            Ok(())
        },
        |m| Some(m.max_latency.as_millis().to_string())
    ),
    key!(
        "max_listeners",
        "most listeners of the mount; 0 means no limit",
        |m, v| {
            m.max_listeners = v.integer(0..=10_000_000)?;
            Ok(())
        },
        |m| Some(m.max_listeners.to_string())
    ),
    key!(
        "public",
        "listed by the page and the API",
        |m, v| {
            m.public = v.boolean()?;
            Ok(())
        },
        |m| Some(m.public.to_string())
    ),
    key!(
        "takeover",
        "whether a second source replaces the first one (else it gets 409)",
        |m, v| {
            m.takeover = v.boolean()?;
            Ok(())
        },
        |m| Some(m.takeover.to_string())
    ),
    key!(
        "grace",
        "how long listeners are held after the source was lost",
        |m, v| {
            m.grace = v.duration()?;
            Ok(())
        },
        |m| Some(show_duration(m.grace))
    ),
    key!(
        "retention",
        "how long a finished mount stays playable from its start",
        |m, v| {
            m.retention = v.duration()?;
            Ok(())
        },
        |m| Some(show_duration(m.retention))
    ),
    key!(
        "source_timeout",
        "how long a connected source may send nothing",
        |m, v| {
            m.source_timeout = v.duration()?.max(std::time::Duration::from_millis(100));
            Ok(())
        },
        |m| Some(show_duration(m.source_timeout))
    ),
    key!(
        "username",
        "user name of Basic credentials",
        |m, v| {
            m.username = v.text()?;
            Ok(())
        },
        |m| Some(show_text(&m.username))
    ),
    key!(
        "password",
        "source password of the mount; the relay's own when absent",
        |m, v| {
            m.password = Secret::new(v.text()?);
            Ok(())
        },
        |_| None
    ),
    key!(
        "tokens",
        "further bearer tokens of sources",
        |m, v| {
            m.tokens = v.texts()?.into_iter().map(Secret::new).collect();
            Ok(())
        },
        |_| None
    ),
    key!(
        "encode",
        "codec for PCM sources: \"auto\" (by the mount's name), \"opus\" or \"mp3\"",
        |m, v| {
            m.encode = match v.text()?.as_str() {
                "auto" => Encode::Auto,
                "opus" => Encode::Opus,
                "mp3" => Encode::Mp3,
                other => return Err(format!("{other:?} is not \"auto\", \"opus\" or \"mp3\"")),
            };
            Ok(())
        },
        |m| Some(show_text(match m.encode {
            Encode::Auto => "auto",
            Encode::Opus => "opus",
            Encode::Mp3 => "mp3",
        }))
    ),
    key!(
        "bitrate",
        "bitrate for PCM sources such as \"96k\"; 0 chooses by codec and channels",
        |m, v| {
            m.bitrate = if *v == Value::Integer(0) {
                0
            } else {
                v.bitrate()?
            };
            Ok(())
        },
        |m| Some(m.bitrate.to_string())
    ),
    key!(
        "complexity",
        "effort of the Opus encoder, 0 to 10",
        |m, v| {
            m.complexity = v.integer(0..=10)? as u32;
            Ok(())
        },
        |m| Some(m.complexity.to_string())
    ),
    key!(
        "record",
        "whether the programme is recorded below recordings/ of the data folder",
        |m, v| {
            m.record = v.boolean()?;
            Ok(())
        },
        |m| Some(m.record.to_string())
    ),
    key!(
        "record_max_bytes",
        "size at which a recording goes on in another file; 0 for no limit",
        |m, v| {
            m.recording.max_bytes = v.bytes()?;
            Ok(())
        },
        |m| Some(m.recording.max_bytes.to_string())
    ),
    key!(
        "record_max_time",
        "length at which a recording goes on in another file; 0 for no limit",
        |m, v| {
            m.recording.max_time = v.duration()?;
            Ok(())
        },
        |m| Some(show_duration(m.recording.max_time))
    ),
    key!(
        "record_sync",
        "how much of a recording a power cut may lose",
        |m, v| {
            m.recording.sync = v.duration()?;
            Ok(())
        },
        |m| Some(show_duration(m.recording.sync))
    ),
    key!(
        "record_keep",
        "how long recordings are kept; 0 for ever",
        |m, v| {
            m.recording.keep = v.duration()?;
            Ok(())
        },
        |m| Some(show_duration(m.recording.keep))
    ),
    key!(
        "record_keep_bytes",
        "most bytes of a mount's finished recordings, oldest removed first; 0 for no limit",
        |m, v| {
            m.recording.keep_bytes = v.bytes()?;
            Ok(())
        },
        |m| Some(m.recording.keep_bytes.to_string())
    ),
];

/// The key that a source's query may set under `name`.
pub(super) fn mount_query_key(name: &str) -> Option<&'static Key<Mount>> {
    let name = match name {
        "max_latency" => "max_latency_ms",
        "password" | "username" | "tokens" | "source_timeout" => return None,
        name => name,
    };
    MOUNT.iter().find(|key| key.name == name)
}

fn show_list(items: &[String]) -> String {
    let items: Vec<String> = items.iter().map(|item| show_text(item)).collect();
    format!("[{}]", items.join(", "))
}
