//! `/metrics` in Prometheus's text format.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::response::{IntoResponse, Response};
use http::{HeaderMap, Uri, header};
use serde_json::Value;

use super::{Connection, api};
use crate::mount::Mount;

struct Text(String);

impl Text {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    fn plain(&mut self, name: &str, kind: &str, help: &str, value: impl std::fmt::Display) {
        self.family(name, kind, help);
        let _ = writeln!(self.0, "{name} {value}");
    }

    /// One value for each mount.
    fn mounts(
        &mut self,
        name: &str,
        kind: &str,
        help: &str,
        mounts: &[Arc<Mount>],
        read: impl Fn(&Mount) -> f64,
    ) {
        let name = format!("seamcast_mount_{name}");
        self.family(&name, kind, help);
        for mount in mounts {
            let (mount, value) = (label(&mount.name), read(mount));
            let _ = writeln!(self.0, "{name}{{mount=\"{mount}\"}} {value}");
        }
    }
}

/// A label's value, escaped.
fn label(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

/// Counters of the relay's own inputs: JSON pointer, name, meaning.
const INPUTS: [(&str, &str, &str); 12] = [
    ("/packets", "packets", "Datagrams or pieces received."),
    ("/bytes", "bytes", "Bytes received."),
    (
        "/refused",
        "refused",
        "Datagrams of senders that may not send.",
    ),
    (
        "/malformed",
        "malformed",
        "Datagrams or files that could not be read.",
    ),
    (
        "/starts",
        "starts",
        "Times it was opened, connected or started.",
    ),
    ("/rtp/lost", "rtp_lost", "RTP packets lost."),
    (
        "/rtp/duplicates",
        "rtp_duplicates",
        "RTP packets that came twice.",
    ),
    (
        "/rtp/late",
        "rtp_late",
        "RTP packets that came after the hold-back.",
    ),
    (
        "/rtp/reordered",
        "rtp_reordered",
        "RTP packets put in order.",
    ),
    (
        "/rtp/concealed_frames",
        "rtp_concealed_frames",
        "PCM frames concealed.",
    ),
    (
        "/rtp/hole_frames",
        "rtp_hole_frames",
        "Opus frames passed on as holes.",
    ),
    (
        "/rtp/discontinuities",
        "rtp_discontinuities",
        "Changes of SSRC.",
    ),
];

/// Counters of forwards' targets.
const FORWARDS: [(&str, &str, &str); 3] = [
    ("/packets", "packets", "Packets or pieces sent."),
    ("/bytes", "bytes", "Bytes sent."),
    ("/errors", "errors", "Failures to send."),
];

/// The counters of a board's entries; entries of the same labels are added up.
fn board(
    text: &mut Text,
    what: &str,
    labels: &[&str],
    counters: &[(&str, &str, &str)],
    entries: &Value,
) {
    for (pointer, name, help) in counters {
        let mut sums = std::collections::BTreeMap::<String, u64>::new();
        for entry in entries.as_array().into_iter().flatten() {
            let Some(value) = entry.pointer(pointer).and_then(|value| value.as_u64()) else {
                continue;
            };
            let own = labels.iter().map(|name| {
                let value = entry[*name].as_str().unwrap_or_default();
                format!("{name}=\"{}\"", label(value))
            });
            *sums.entry(own.collect::<Vec<_>>().join(",")).or_default() += value;
        }
        if sums.is_empty() {
            continue;
        }
        let name = format!("seamcast_{what}_{name}_total");
        text.family(&name, "counter", help);
        for (labels, value) in sums {
            let _ = writeln!(text.0, "{name}{{{labels}}} {value}");
        }
    }
}

pub(super) async fn metrics(connection: Connection, headers: HeaderMap, uri: Uri) -> Response {
    let relay = &connection.relay;
    let config = relay.config();
    // The name of a mount that is not listed may be all that protects it.
    let admin = api::is_admin(&connection, &headers, uri.query());
    let listed = |name: &str| match relay.mounts.find(name) {
        Some(mount) => mount.settings().public,
        None => config.mount(name).public,
    };
    let shown = |entries: Value| match entries {
        Value::Array(mut entries) => {
            entries.retain(|entry| admin || entry["mount"].as_str().is_some_and(listed));
            Value::Array(entries)
        }
        other => other,
    };
    let mut text = Text(String::with_capacity(4096));
    let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let counters = &relay.counters;
    let up = relay.started.elapsed().as_secs_f64();
    text.plain(
        "seamcast_uptime_seconds",
        "gauge",
        "Time since the start.",
        up,
    );
    let listeners = relay.fanout.count();
    text.plain(
        "seamcast_listeners",
        "gauge",
        "Listeners of all mounts.",
        listeners,
    );
    for (name, help, counter) in [
        (
            "seamcast_connections_accepted_total",
            "Connections accepted.",
            &counters.accepted,
        ),
        (
            "seamcast_connections_turned_away_total",
            "Connections over the limit.",
            &counters.turned_away,
        ),
        (
            "seamcast_sources_refused_total",
            "Source requests refused.",
            &counters.refused_sources,
        ),
        (
            "seamcast_source_bytes_total",
            "Bytes received from sources.",
            &counters.source_bytes,
        ),
        (
            "seamcast_source_faults_total",
            "Faults in sources' streams.",
            &counters.faults,
        ),
    ] {
        text.plain(name, "counter", help, load(counter));
    }
    if let Some(access) = &relay.access {
        text.plain(
            "seamcast_access_log_lost_lines_total",
            "counter",
            "Lines of the access log that the disk did not take.",
            access.lost(),
        );
    }
    let open = load(&relay.connections);
    text.plain(
        "seamcast_connections",
        "gauge",
        "Connections that are not listening.",
        open,
    );
    let mut mounts = relay.mounts.all();
    mounts.retain(|mount| admin || mount.settings().public);
    type Read = fn(&Mount) -> f64;
    let stat = |read: fn(&crate::fanout::MountStats) -> &AtomicU64| {
        move |mount: &Mount| read(&mount.shared.stats).load(Ordering::Relaxed) as f64
    };
    let own: [(&str, &str, &str, Read); 11] = [
        ("live", "gauge", "Whether a source feeds the mount.", |m| {
            f64::from(u8::from(m.is_live()))
        }),
        (
            "media_seconds",
            "gauge",
            "Programme position of the live edge.",
            |m| m.log.head().end.as_secs_f64(),
        ),
        ("history_bytes", "gauge", "Bytes held in the log.", |m| {
            m.log.head().bytes as f64
        }),
        (
            "bits_per_second",
            "gauge",
            "Bitrate of recent chunks.",
            |m| m.bitrate() as f64,
        ),
        (
            "received_bytes_total",
            "counter",
            "Bytes received from the mount's sources.",
            |m| m.stats().source_bytes as f64,
        ),
        (
            "faults_total",
            "counter",
            "Faults in the mount's sources.",
            |m| m.stats().faults as f64,
        ),
        (
            "losses_total",
            "counter",
            "Sources lost without a proper end.",
            |m| m.stats().losses as f64,
        ),
        (
            "recorded_seconds_total",
            "counter",
            "Media recorded.",
            |m| m.recorded().recorded.as_secs_f64(),
        ),
        ("recorded_bytes_total", "counter", "Bytes recorded.", |m| {
            m.recorded().bytes as f64
        }),
        (
            "recording_missed_seconds_total",
            "counter",
            "Media missing in recordings because the disk failed or was too slow, or after a fault that ended one.",
            |m| m.recorded().missed.as_secs_f64(),
        ),
        (
            "recording_errors_total",
            "counter",
            "Failed writes of recordings, and faults that ended one.",
            |m| m.recorded().errors as f64,
        ),
    ];
    for (name, kind, help, read) in own {
        text.mounts(name, kind, help, &mounts, read);
    }
    let fanout = [
        ("listeners", "gauge", "Listeners.", stat(|s| &s.listeners)),
        (
            "listeners_joined_total",
            "counter",
            "Listeners that joined.",
            stat(|s| &s.joins),
        ),
        (
            "listeners_left_total",
            "counter",
            "Listeners that left.",
            stat(|s| &s.leaves),
        ),
        (
            "sent_bytes_total",
            "counter",
            "Bytes written to listeners.",
            stat(|s| &s.bytes),
        ),
        (
            "sent_chunks_total",
            "counter",
            "Chunks written to listeners.",
            stat(|s| &s.chunks),
        ),
        (
            "gaps_total",
            "counter",
            "Times listeners were moved past chunks.",
            stat(|s| &s.gaps),
        ),
        (
            "missed_chunks_total",
            "counter",
            "Chunks missed so.",
            stat(|s| &s.lag_chunks),
        ),
        (
            "too_slow_total",
            "counter",
            "Listeners closed as too slow.",
            stat(|s| &s.too_slow),
        ),
        (
            "listener_errors_total",
            "counter",
            "Listener connections that failed.",
            stat(|s| &s.errors),
        ),
        (
            "underruns_total",
            "counter",
            "Underruns that listeners reported.",
            stat(|s| &s.underruns),
        ),
    ];
    for (name, kind, help, read) in fanout {
        text.mounts(name, kind, help, &mounts, read);
    }
    board(
        &mut text,
        "input",
        &["kind", "mount"],
        &INPUTS,
        &shown(relay.board.inputs()),
    );
    let forwards = shown(relay.board.forwards());
    // Their targets are for the administrator alone (`/api/forwards`).
    board(
        &mut text,
        "forward",
        &["kind", "mount"],
        &FORWARDS,
        &forwards,
    );
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], text.0).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_of_the_same_labels_are_one_line() {
        let entries = serde_json::json!([
            { "kind": "rtp", "mount": "/a\"b", "packets": 3, "rtp": { "lost": 1 } },
            { "kind": "rtp", "mount": "/a\"b", "packets": 4, "rtp": null },
        ]);
        let mut text = Text(String::new());
        board(&mut text, "input", &["kind", "mount"], &INPUTS, &entries);
        let lines: Vec<&str> = text.0.lines().filter(|l| !l.starts_with('#')).collect();
        assert_eq!(
            lines,
            [
                r#"seamcast_input_packets_total{kind="rtp",mount="/a\"b"} 7"#,
                r#"seamcast_input_rtp_lost_total{kind="rtp",mount="/a\"b"} 1"#
            ]
        );
    }
}
