//! The keys of `[defaults]` and `[[mount]]`, and of a source's query.

use super::fallback::Fallback;
use super::keys::{Key, key};
use super::value::{show_duration, show_text};
use super::{Encode, JoinDefault, Mount, Secret};

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
        "fallback",
        "what plays while no source is there: a mount such as \"/standby.opus\", or \"file:standby.mp3\"",
        |m, v| {
            m.fallback = Fallback::parse(&v.text()?)?;
            Ok(())
        },
        |m| m.fallback.show().map(|text| show_text(&text))
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
        "listen_tokens",
        "tokens that let listen, and fetch its recordings; with none and without listen_key everybody may",
        |m, v| {
            m.listen_tokens = v.texts()?.into_iter().map(Secret::new).collect();
            Ok(())
        },
        |_| None
    ),
    key!(
        "listen_key",
        "key of JSON Web Tokens (HS256; aud: the mount, exp) that let listen; 32 bytes or more",
        |m, v| {
            let key = v.text()?;
            // RFC 7518 §3.2: as long as the hash. Empty: no key, where the defaults have one.
            if !key.is_empty() && key.len() < 32 {
                let has = key.len();
                return Err(format!(
                    "it has {has} bytes, and HS256 needs 32 or more; `openssl rand -hex 32` makes one"
                ));
            }
            m.listen_key = Secret::new(key);
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
            m.bitrate = if v.integer(0..=0).is_ok() {
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
        "password" | "username" | "tokens" | "listen_tokens" | "listen_key" | "source_timeout"
        | "record_keep" | "record_keep_bytes" => {
            return None;
        }
        name => name,
    };
    MOUNT.iter().find(|key| key.name == name)
}
