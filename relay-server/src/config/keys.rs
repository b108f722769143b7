//! The relay's own keys: each one's name, its meaning, how it is set and how it is shown.

use super::inputs::networks;
use super::value::{show_duration, show_text};
use super::{Config, Secret, Value};

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
        "tls_certificate",
        "certificate chain in PEM; with it and tls_key the same port also speaks TLS",
        |c, v| {
            c.tls_certificate = path(v)?;
            Ok(())
        },
        |c| c
            .tls_certificate
            .as_ref()
            .map(|p| show_text(&p.to_string_lossy()))
    ),
    key!(
        "tls_key",
        "the certificate's private key in PEM",
        |c, v| {
            c.tls_key = path(v)?;
            Ok(())
        },
        |c| c.tls_key.as_ref().map(|p| show_text(&p.to_string_lossy()))
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
        "proxies",
        "addresses of proxies whose X-Forwarded-For is believed, such as [\"127.0.0.1\", \"10.0.0.0/8\"]",
        |c, v| {
            c.proxies = networks(v)?;
            Ok(())
        },
        |c| {
            let shown: Vec<String> = c.proxies.iter().map(ToString::to_string).collect();
            Some(show_list(&shown))
        }
    ),
    key!(
        "speech_url",
        "speech service behind POST /v1/audio/speech, such as \"https://api.openai.com/v1/audio/speech\"; not shown",
        |c, v| {
            let text = v.text()?;
            if !text.is_empty() {
                crate::remote::url(&text)?;
            }
            c.speech_url = Secret::new(text);
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
        "fan-out threads, each filled with 1,500 listeners before the next; 0 means one per core",
        |c, v| {
            c.shards = v.integer(0..=256)?;
            Ok(())
        },
        |c| Some(c.shards.to_string())
    ),
    key!(
        "io_uring",
        "write to many listeners in one system call where the kernel lets it",
        |c, v| {
            c.io_uring = v.boolean()?;
            Ok(())
        },
        |c| Some(c.io_uring.to_string())
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
        "access_log",
        "file that gets a line for each listener that left, as Icecast writes it; off when absent",
        |c, v| {
            c.access_log = path(v)?;
            Ok(())
        },
        |c| c
            .access_log
            .as_ref()
            .map(|p| show_text(&p.to_string_lossy()))
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

fn show_list(items: &[String]) -> String {
    let items: Vec<String> = items.iter().map(|item| show_text(item)).collect();
    format!("[{}]", items.join(", "))
}
