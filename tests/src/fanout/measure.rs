//! One server, one number of listeners, one window of time.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use super::load::{Plan, Window};
use super::process::{self, Guard};
use super::report::Row;
use super::servers::{self, Kind};
use super::stream::wall_us;

/// Starts a server at `address`, lets `listeners` join at `rate` a second,
/// measures for `secs`, and ends it.
///
/// # Errors
/// When the server or the load generator cannot be started or says nothing.
pub fn measure(
    kind: Kind,
    address: SocketAddr,
    listeners: usize,
    secs: u64,
    rate: usize,
) -> Result<Row> {
    let server = servers::start(kind, address)?;
    servers::warm_up(&server, kind)?;
    let rss_before = process::rss_kb(server.pid)?;
    let tcp_before = process::tcp_kb();
    let plan = Plan {
        address,
        path: kind.path().to_owned(),
        transport: kind.transport(),
        certificate: server.certificate(),
        listeners,
        rate,
    };
    let mut child = Command::new(std::env::current_exe()?)
        .args(["load", &serde_json::to_string(&plan)?])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut control = child.stdin.take().context("no stdin")?;
    let output = child.stdout.take().context("no stdout")?;
    let generator = Guard(child);
    let (said, lines) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if said.send(line).is_err() {
                return;
            }
        }
    });
    let hear = |limit: u64| -> Result<Value> {
        let line = lines.recv_timeout(Duration::from_secs(limit));
        let line = line.context("the load generator says nothing")?;
        Ok(serde_json::from_str(&line)?)
    };
    let joined = hear(90)?;
    std::thread::sleep(Duration::from_secs(2));

    let window = Window {
        from: wall_us() + 200_000,
        to: wall_us() + 200_000 + secs * 1_000_000,
    };
    writeln!(control, "{}", serde_json::to_string(&window)?)?;
    sleep_until(window.from);
    let cpu = process::cpu(server.pid)?;
    let generator_cpu = process::cpu(generator.0.id())?;
    sleep_until(window.to);
    let cpu = process::cpu(server.pid)?.since(&cpu);
    let generator_cpu = process::cpu(generator.0.id())?.since(&generator_cpu);
    let rss = process::rss_kb(server.pid)?;
    let tcp = process::tcp_kb();
    let load_average = process::load_average();
    let result = hear(30)?;

    drop(control);
    drop(generator);
    std::thread::sleep(Duration::from_secs(3));
    let rss_after = process::rss_kb(server.pid)?;

    let number = |value: &Value| value.as_f64().unwrap_or(0.0);
    let heard = number(&joined["heard"]) as usize;
    let listening = heard.max(1) as f64 * secs as f64;
    let sent = number(&result["frames"]).max(1.0);
    let messages = number(&result["messages"]) / heard.max(1) as f64;
    // The generator counts until a little after the window.
    let measured = secs as f64 + 1.7;
    let messages = messages / measured;
    Ok(Row {
        server: kind.name().to_owned(),
        listeners,
        heard,
        lost: listeners - heard + number(&result["gone"]) as usize,
        user_us: cpu.user * 1e6 / listening,
        system_us: cpu.system * 1e6 / listening,
        message_us: cpu.total() * 1e6 / listening / messages,
        messages,
        rss_kb: (rss - rss_before) / heard.max(1) as f64,
        tcp_kb: (tcp - tcp_before) / heard.max(1) as f64,
        rss_after: rss_after / rss_before,
        p50: number(&result["latency"]["p50"]),
        p99: number(&result["latency"]["p99"]),
        p999: number(&result["latency"]["p999"]),
        delivered: number(&result["latency"]["count"]) / (listeners as f64 * sent),
        joins_per_sec: number(&joined["joins_per_sec"]),
        first_audio_p99: number(&joined["first_audio"]["p99"]),
        generator: generator_cpu.total() / secs as f64,
        load_average,
    })
}

fn sleep_until(at: u64) {
    std::thread::sleep(Duration::from_micros(at.saturating_sub(wall_us())));
}
