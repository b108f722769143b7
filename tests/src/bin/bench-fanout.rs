//! Measures the relay's fan-out beside Icecast, nginx with nchan, and a bare
//! loop of `send(2)`.
//!
//! ```text
//! bench-fanout [--listeners N,N] [--secs S] [--rounds R] [--only NAME,NAME]
//!              [--growth] [--storm] [--minute] [--port P] [--docs]
//! ```
//!
//! By default 1,000 and 4,000 listeners. The relay, Icecast and the floor are
//! measured in turn, three rounds, there and back, so that what else the
//! machine does falls on all; the other servers once. `--only` takes turns
//! between those named. `--growth` adds the relay and the floor from 500 to
//! 8,000 listeners, `--storm` 5,000 joins within a second, `--minute` 10,000
//! listeners for a minute.
//!
//! Results go to `target/bench/fanout.json`, the growth's plot beside it;
//! `--docs` also puts them into `docs/fanout/` and between the markers of
//! `docs/fanout.md`. Parts that were not run keep what is there.
//! `SEAMCAST_RELAY` names the relay binary, else it is built now.

use std::net::SocketAddr;

use anyhow::{Context, Result, bail};
use tests::fanout::measure::measure;
use tests::fanout::report::{self, Machine, Ratio, Results, Row};
use tests::fanout::servers::Kind;
use tests::fanout::{docs, floor, load, plot};
use tests::support::{artefact_dir, workspace_root};

/// Those whose ratios matter, so that they are measured in every round.
const RIVALS: [Kind; 3] = [Kind::Relay, Kind::Icecast, Kind::Floor];

struct Options {
    listeners: Vec<usize>,
    secs: u64,
    rounds: usize,
    only: Option<Vec<Kind>>,
    growth: bool,
    storm: bool,
    minute: bool,
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
    let mut results = Results {
        machine: Machine::of_this(),
        secs: options.secs,
        rounds: options.rounds,
        ..Results::default()
    };
    for &listeners in &options.listeners {
        let mut all = Vec::new();
        for round in 0..options.rounds {
            for kind in options.turns(round) {
                let measured = measure(kind, address(), listeners, options.secs, kind.join_rate());
                note(&mut all, kind, measured)?;
            }
        }
        results
            .ratios
            .extend(Ratio::between("relay", &["floor", "icecast"], &all));
        results
            .ratios
            .extend(Ratio::between("floor", &["icecast"], &all));
        for kind in Kind::ALL {
            let plain = kind.name().strip_suffix("-tls");
            let ratios = plain.map(|plain| Ratio::between(kind.name(), &[plain], &all));
            results.ratios.extend(ratios.into_iter().flatten());
        }
        results.servers.extend(report::medians(&all));
    }
    if options.storm {
        for kind in [Kind::Relay, Kind::Icecast] {
            let measured = measure(kind, address(), 5000, 5, 5000);
            note(&mut results.storm, kind, measured)?;
        }
    }
    if options.growth {
        for listeners in [500, 1000, 2000, 4000, 8000] {
            for kind in [Kind::Relay, Kind::Floor] {
                let secs = options.secs;
                let measured = measure(kind, address(), listeners, secs, kind.join_rate());
                note(&mut results.growth, kind, measured)?;
            }
        }
    }
    if options.minute {
        let kind = Kind::Relay;
        let measured = measure(kind, address(), 10_000, 60, kind.join_rate());
        note(&mut results.minute, kind, measured)?;
    }
    println!("\n{}", report::text(&results));
    let folder = artefact_dir("bench");
    std::fs::write(
        folder.join("fanout.json"),
        serde_json::to_string_pretty(&results)?,
    )?;
    if options.growth {
        std::fs::write(
            folder.join("fanout-growth.svg"),
            plot::growth(&results.growth),
        )?;
    }
    if options.docs {
        docs::write(&workspace_root().join("docs"), results)?;
    }
    Ok(())
}

impl Options {
    /// Who is measured in a round: there and back, so that a machine that
    /// gets busier does not favour the first.
    fn turns(&self, round: usize) -> Vec<Kind> {
        let mut turns = match &self.only {
            Some(only) => only.clone(),
            None if round == 0 => {
                let others = Kind::ALL.into_iter().filter(|kind| !RIVALS.contains(kind));
                RIVALS.into_iter().chain(others).collect()
            }
            None => RIVALS.to_vec(),
        };
        if round % 2 == 1 {
            turns.reverse();
        }
        turns
    }
}

fn read(args: Vec<String>) -> Result<Options> {
    let mut options = Options {
        listeners: vec![1000, 4000],
        secs: 6,
        rounds: 3,
        only: None,
        growth: false,
        storm: false,
        minute: false,
        port: 21_500,
        docs: false,
    };
    let mut args = args.into_iter();
    while let Some(arg) = args.next() {
        let mut value = || args.next().with_context(|| format!("{arg} needs a value"));
        let whole = |text: String| -> Result<u64> {
            let number: u64 = text
                .parse()
                .ok()
                .filter(|number| *number > 0)
                .with_context(|| format!("{arg} {text:?} is no whole number above 0"))?;
            Ok(number)
        };
        match arg.as_str() {
            "--listeners" => {
                let numbers = value()?;
                options.listeners = numbers
                    .split(',')
                    .map(|number| Ok(whole(number.to_owned())? as usize))
                    .collect::<Result<_>>()?;
            }
            "--secs" => options.secs = whole(value()?)?,
            "--rounds" => options.rounds = whole(value()?)? as usize,
            "--port" => options.port = value()?.parse().context("--port needs a port")?,
            "--only" => {
                let find = |name: &str| Kind::ALL.into_iter().find(|kind| kind.name() == name);
                let names = value()?;
                let only = names
                    .split(',')
                    .map(|name| find(name).with_context(|| format!("no server {name:?}")))
                    .collect::<Result<_>>()?;
                options.only = Some(only);
            }
            "--growth" => options.growth = true,
            "--storm" => options.storm = true,
            "--minute" => options.minute = true,
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
                "{:>12} {:>5}: {:.1} µs per listener·s ({:.0} % user), {:.2} KB, p99 {:.0} ms, \
                 delivered {:.4}, load average {:.1}",
                row.server,
                row.listeners,
                row.cpu_us(),
                row.user_share() * 100.0,
                row.rss_kb,
                row.p99,
                row.delivered,
                row.load_average,
            );
            rows.push(row);
            Ok(())
        }
        // Without the relay there is nothing to compare.
        Err(error) if kind.is_relay() => Err(error),
        Err(error) => {
            eprintln!("{:>12}: not measured: {error:#}", kind.name());
            Ok(())
        }
    }
}
