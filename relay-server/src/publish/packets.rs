//! RTP and raw datagrams: a relay of its own takes them and pushes the mount on.

use crate::config::{self, Config};
use crate::mount::parse_query;
use crate::server;

use super::Destination;

/// Listens until the program is told to stop.
pub(super) fn publish(input: &str, to: &Destination, password: Option<&str>) -> Result<(), String> {
    let config = configuration(input, to, &super::credentials(to, password)?)?;
    let failed = |error: std::io::Error| error.to_string();
    let runtime = tokio::runtime::Runtime::new().map_err(failed)?;
    runtime.block_on(async {
        // Nobody needs to know where this one listens.
        let listener = tokio::net::TcpListener::bind(config.listen).await;
        let stop = async {
            let _ = tokio::signal::ctrl_c().await;
        };
        server::run(listener.map_err(failed)?, config, stop)
            .await
            .map_err(failed)
    })
}

/// `rtp://ADDRESS:PORT?KEY=VALUE…`, where the keys are those of `[[input]]`.
fn configuration(input: &str, to: &Destination, credentials: &[u8]) -> Result<Config, String> {
    let (kind, rest) = input.split_once("://").unwrap_or_default();
    let (address, query) = rest.split_once('?').unwrap_or((rest, ""));
    let quoted = |text: &str| toml::Value::String(text.to_owned()).to_string();
    let mut text = String::from("listen = \"127.0.0.1:0\"\n[[input]]\n");
    let mut line = |key: &str, value: &str| text.push_str(&format!("{key} = {}\n", quoted(value)));
    line("kind", kind);
    line("mount", to.mount());
    line("listen", address.trim_end_matches('/'));
    for (key, value) in parse_query(query) {
        if !key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_') {
            return Err(format!("{key:?} is no key of an input"));
        }
        line(&key, &value);
    }
    let user: String = credentials
        .iter()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b':' => char::from(*byte).to_string(),
            byte => format!("%{byte:02X}"),
        })
        .collect();
    let url = format!("http://{user}@{}{}", to.authority(), to.path());
    text.push_str("[[forward]]\n");
    let mut line = |key: &str, value: &str| text.push_str(&format!("{key} = {}\n", quoted(value)));
    line("kind", "icecast");
    line("mount", to.mount());
    line("url", &url);
    let mut config = Config::default();
    config::parse(&text, &mut config).map_err(|mistakes| {
        let said = mistakes.iter().map(|m| format!("{}: {}", m.key, m.message));
        said.collect::<Vec<_>>().join("; ")
    })?;
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_inputs() {
        let to: Destination = "http://host:8000/call.opus?bitrate=32k"
            .parse()
            .expect("url");
        let read = |input: &str| configuration(input, &to, b"source:p@ss");
        let config = read("rtp://0.0.0.0:5004?payload_types=97=opus/48000/2").expect("sound");
        assert_eq!(config.inputs[0].mount, "/call.opus");
        assert_eq!(config.inputs[0].payload_types.len(), 1);
        assert_eq!(
            config.forwards[0].url.reveal(),
            "http://source:p%40ss@host:8000/call.opus?bitrate=32k"
        );
        let why = read("udp://0.0.0.0:5004").expect_err("no format");
        assert!(why.contains("format"), "{why}");
        assert!(read("udp://0.0.0.0:5004?format=s16le&rate=16000").is_ok());
        let why = read("rtp://nowhere").expect_err("no address");
        assert!(why.contains("listen"), "{why}");
    }
}
