//! Measures the relay's fan-out beside Icecast, nginx with nchan, and a bare
//! loop of `send(2)`.
//!
//! ```text
//! bench-fanout [--listeners N,N] [--secs S] [--only NAME,NAME] [--growth] [--storm]
//!              [--port P] [--docs]
//! ```
//!
//! By default all servers with 1,000 and 4,000 listeners. `--growth` adds the
//! relay and the floor from 500 to 8,000 listeners, `--storm` 5,000 joins
//! within a second. Results go to `target/bench/fanout.json`, the growth's
//! plot beside it; `--docs` also puts table and plot into `docs/fanout/`.
//! `SEAMCAST_RELAY` names the relay binary, else it is built now.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use tests::fanout::floor;
use tests::fanout::load::{self, Plan, Window};
use tests::fanout::process::{self, Guard};
use tests::fanout::report::{self, Row};
use tests::fanout::servers::{self, Kind};
use tests::fanout::stream::wall_us;
use tests::support::{artefact_dir, workspace_root};

struct Options {
    listeners: Vec<usize>,
    secs: u64,
    only: Vec<Kind>,
    growth: bool,
    storm: bool,
    port: u16,
    docs: bool,
}

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.first().map(String::as_str) {
        Some("load") => return load::run(&serde_json::from_str(&args[1])?),
        Some("floor") => return floor::run(args[1].parse()?, args[2].parse()?),
        _ => {}
    }
    let options = read(args)?;
    let mut port = options.port;
    let mut address = || {
        port += 1;
        SocketAddr::from(([127, 0, 0, 1], port - 1))
    };
    let mut rows = Vec::new();
    for &listeners in &options.listeners {
        for &kind in &options.only {
            let measured = measure(kind, address(), listeners, options.secs, kind.join_rate());
            note(&mut rows, kind, measured)?;
        }
    }
    let mut storm = Vec::new();
    if options.storm {
        for kind in [Kind::Relay, Kind::Icecast] {
            note(&mut storm, kind, measure(kind, address(), 5000, 5, 5000))?;
        }
    }
    let mut growth = Vec::new();
    if options.growth {
        for kind in [Kind::Relay, Kind::Floor] {
            for listeners in [500, 1000, 2000, 4000, 8000] {
                let measured = measure(kind, address(), listeners, options.secs, kind.join_rate());
                note(&mut growth, kind, measured)?;
            }
        }
    }
    let mut text = report::table(&rows);
    for (title, rows) in [("5,000 joins in a second", &storm), ("Growth", &growth)] {
        if !rows.is_empty() {
            text.push_str(&format!("\n{title}\n\n{}", report::table(rows)));
        }
    }
    println!("\n{text}");
    let folder = artefact_dir("bench");
    let all = json!({"servers": rows, "storm": storm, "growth": growth});
    std::fs::write(
        folder.join("fanout.json"),
        serde_json::to_string_pretty(&all)?,
    )?;
    let plot = report::growth(&growth);
    if options.growth {
        std::fs::write(folder.join("fanout-growth.svg"), &plot)?;
    }
    if options.docs {
        let docs = workspace_root().join("docs/fanout");
        std::fs::create_dir_all(&docs)?;
        std::fs::write(docs.join("results.md"), text)?;
        if options.growth {
            std::fs::write(docs.join("growth.svg"), &plot)?;
        }
    }
    Ok(())
}

fn read(args: Vec<String>) -> Result<Options> {
    let mut options = Options {
        listeners: vec![1000, 4000],
        secs: 10,
        only: Kind::ALL.to_vec(),
        growth: false,
        storm: false,
        port: 21_500,
        docs: false,
    };
    let mut args = args.into_iter();
    while let Some(arg) = args.next() {
        let mut value = || args.next().with_context(|| format!("{arg} needs a value"));
        match arg.as_str() {
            "--listeners" => {
                let numbers = value()?
                    .split(',')
                    .map(str::parse)
                    .collect::<Result<_, _>>();
                options.listeners = numbers.context("--listeners needs whole numbers")?;
            }
            "--secs" => options.secs = value()?.parse().context("--secs needs a whole number")?,
            "--port" => options.port = value()?.parse().context("--port needs a port")?,
            "--only" => {
                let find = |name: &str| Kind::ALL.into_iter().find(|kind| kind.name() == name);
                let names = value()?;
                options.only = names
                    .split(',')
                    .map(|name| find(name).with_context(|| format!("no server {name:?}")))
                    .collect::<Result<_>>()?;
            }
            "--growth" => options.growth = true,
            "--storm" => options.storm = true,
            "--docs" => options.docs = true,
            other => bail!("unknown argument {other:?}; see the head of bench-fanout.rs"),
        }
    }
    Ok(options)
}

/// Keeps a result; a server that cannot be measured is said, not hidden.
fn note(rows: &mut Vec<Row>, kind: Kind, measured: Result<Row>) -> Result<()> {
    match measured {
        Ok(row) => {
            eprintln!(
                "{:>10} {:>5}: {:.1} µs per listener·s, {:.2} KB, p99 {:.0} ms, delivered {:.4}",
                row.server,
                row.listeners,
                row.cpu_us(),
                row.rss_kb,
                row.p99,
                row.delivered
            );
            rows.push(row);
            Ok(())
        }
        // Without the relay there is nothing to compare.
        Err(error) if matches!(kind, Kind::Relay | Kind::RelayWs | Kind::RelayHttp) => Err(error),
        Err(error) => {
            eprintln!("{:>10}: not measured: {error:#}", kind.name());
            Ok(())
        }
    }
}

fn measure(
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
    std::thread::sleep(Duration::from_secs(3));

    let window = Window {
        from: wall_us() + 200_000,
        to: wall_us() + 200_000 + secs * 1_000_000,
    };
    writeln!(control, "{}", serde_json::to_string(&window)?)?;
    sleep_until(window.from);
    let cpu = process::cpu(server.pid)?;
    let generator_cpu = process::cpu(generator.0.id())?;
    sleep_until(window.to);
    let cpu = process::cpu(server.pid)? - cpu;
    let generator_cpu = process::cpu(generator.0.id())? - generator_cpu;
    let rss = process::rss_kb(server.pid)?;
    let tcp = process::tcp_kb();
    let load_average = process::load_average();
    let result = hear(30)?;

    drop(control);
    drop(generator);
    std::thread::sleep(Duration::from_secs(4));
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
