//! What was measured, as tables and as JSON.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

/// One server with one number of listeners.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Row {
    /// The server.
    pub server: String,
    /// Listeners wanted.
    pub listeners: usize,
    /// Listeners that got audio.
    pub heard: usize,
    /// Listeners that were cut off or refused.
    pub lost: usize,
    /// CPU in the program, µs per listener and second.
    pub user_us: f64,
    /// CPU in the kernel, µs per listener and second.
    pub system_us: f64,
    /// CPU per message, µs; for byte streams per read of the load generator.
    pub message_us: f64,
    /// Messages per listener and second.
    pub messages: f64,
    /// Resident memory per listener, KB.
    pub rss_kb: f64,
    /// Kernel memory of TCP sockets per listener, both ends, KB.
    pub tcp_kb: f64,
    /// Resident memory after all have left, relative to before.
    pub rss_after: f64,
    /// From sending a frame to its arrival, ms: median.
    pub p50: f64,
    /// 99 %.
    pub p99: f64,
    /// 99.9 %.
    pub p999: f64,
    /// Frames delivered of those sent.
    pub delivered: f64,
    /// Listeners joined per second, until all had audio.
    pub joins_per_sec: f64,
    /// From connecting to the first audio, 99 %, ms.
    pub first_audio_p99: f64,
    /// CPU of the load generator during the measurement, share of a core.
    pub generator: f64,
    /// Load average of the machine at the end.
    pub load_average: f64,
}

impl Row {
    /// CPU per listener and second, µs.
    #[must_use]
    pub fn cpu_us(&self) -> f64 {
        self.user_us + self.system_us
    }

    /// How much of it is spent in the program.
    #[must_use]
    pub fn user_share(&self) -> f64 {
        self.user_us / self.cpu_us().max(f64::MIN_POSITIVE)
    }
}

/// The middle one; between two, their mean. 0 of none.
#[must_use]
pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let half = values.len() / 2;
    match values.len() {
        0 => 0.0,
        odd if odd % 2 == 1 => values[half],
        _ => f64::midpoint(values[half - 1], values[half]),
    }
}

/// One row for each server and number of listeners, in the order of their
/// first: the median of each figure, but the worst of what may not fail.
#[must_use]
pub fn medians(rows: &[Row]) -> Vec<Row> {
    let mut out: Vec<Row> = Vec::new();
    for first in rows {
        let same = |row: &&Row| row.server == first.server && row.listeners == first.listeners;
        if out.iter().any(|row| same(&row)) {
            continue;
        }
        let all: Vec<&Row> = rows.iter().filter(same).collect();
        let of = |figure: fn(&Row) -> f64| median(all.iter().map(|row| figure(row)));
        out.push(Row {
            server: first.server.clone(),
            listeners: first.listeners,
            heard: all.iter().map(|row| row.heard).min().unwrap_or(0),
            lost: all.iter().map(|row| row.lost).max().unwrap_or(0),
            user_us: of(|row| row.user_us),
            system_us: of(|row| row.system_us),
            message_us: of(|row| row.message_us),
            messages: of(|row| row.messages),
            rss_kb: of(|row| row.rss_kb),
            tcp_kb: of(|row| row.tcp_kb),
            rss_after: of(|row| row.rss_after),
            p50: of(|row| row.p50),
            p99: of(|row| row.p99),
            p999: of(|row| row.p999),
            delivered: all.iter().map(|row| row.delivered).fold(f64::MAX, f64::min),
            joins_per_sec: of(|row| row.joins_per_sec),
            first_audio_p99: of(|row| row.first_audio_p99),
            generator: of(|row| row.generator),
            load_average: of(|row| row.load_average),
        });
    }
    out
}

/// CPU of one server by that of another, round by round.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Ratio {
    /// The server.
    pub server: String,
    /// Whose CPU it is divided by.
    pub peer: String,
    /// Listeners.
    pub listeners: usize,
    /// One for each round in which both were measured.
    pub rounds: Vec<f64>,
}

impl Ratio {
    /// Ratios of `server` to each of `peers`, of rows in the order in which
    /// they were measured. Both of a round are neighbours in time.
    #[must_use]
    pub fn between(server: &str, peers: &[&str], rows: &[Row]) -> Vec<Self> {
        let of =
            |name: &str| -> Vec<&Row> { rows.iter().filter(|row| row.server == name).collect() };
        let own = of(server);
        let ratio = |peer: &&str| Self {
            server: server.to_owned(),
            peer: (*peer).to_owned(),
            listeners: rows.first().map_or(0, |row| row.listeners),
            rounds: own
                .iter()
                .zip(of(peer))
                .map(|(own, peer)| own.cpu_us() / peer.cpu_us().max(f64::MIN_POSITIVE))
                .collect(),
        };
        let mut ratios: Vec<Self> = peers.iter().map(ratio).collect();
        ratios.retain(|ratio| !ratio.rounds.is_empty());
        ratios
    }

    /// The median of the rounds.
    #[must_use]
    pub fn median(&self) -> f64 {
        median(self.rounds.iter().copied())
    }
}

impl std::fmt::Display for Ratio {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let rounds: Vec<String> = self.rounds.iter().map(|r| format!("{r:.2}")).collect();
        write!(
            f,
            "{}/{} at {}: {:.2} (rounds {})",
            self.server,
            self.peer,
            self.listeners,
            self.median(),
            rounds.join(", ")
        )
    }
}

/// What it was measured on.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Machine {
    /// Processors.
    pub cores: usize,
    /// What they are.
    pub processor: String,
    /// The kernel's release.
    pub kernel: String,
}

impl Machine {
    /// This machine, from `/proc`.
    #[must_use]
    pub fn of_this() -> Self {
        let read = |path| std::fs::read_to_string(path).unwrap_or_default();
        let processor = read("/proc/cpuinfo");
        let processor = processor
            .lines()
            .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
            .map_or("unknown processor", |(_, name)| name);
        Self {
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            processor: processor.trim().to_owned(),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
        }
    }
}

/// A run of the benchmark.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Results {
    /// What it ran on.
    pub machine: Machine,
    /// Seconds of a measurement.
    pub secs: u64,
    /// Rounds of the servers that take turns.
    pub rounds: usize,
    /// All servers, the medians of their rounds.
    pub servers: Vec<Row>,
    /// Of those rounds.
    pub ratios: Vec<Ratio>,
    /// Joins within a second.
    pub storm: Vec<Row>,
    /// The relay and the floor over numbers of listeners.
    pub growth: Vec<Row>,
    /// Many listeners for a minute.
    pub minute: Vec<Row>,
}

/// All of it, for a terminal.
#[must_use]
pub fn text(results: &Results) -> String {
    let mut out = table(&results.servers);
    for (title, rows) in [
        ("5,000 joins in a second", &results.storm),
        ("Growth", &results.growth),
        ("A minute", &results.minute),
    ] {
        if !rows.is_empty() {
            let _ = write!(out, "\n{title}\n\n{}", table(rows));
        }
    }
    if !results.ratios.is_empty() {
        out.push_str("\nCPU, median of the rounds\n\n");
    }
    for ratio in &results.ratios {
        let _ = writeln!(out, "{ratio}");
    }
    out
}

/// A Markdown table.
#[must_use]
pub fn table(rows: &[Row]) -> String {
    let mut out = String::from(
        "| server | listeners | CPU µs per listener·s | user % | µs per message | RSS KB | kernel TCP KB | RSS after | p50 ms | p99 ms | p99.9 ms | delivered | lost | joins/s | first audio p99 ms | generator CPU |\n\
         |---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n",
    );
    for row in rows {
        let _ = writeln!(
            out,
            "| {} | {} | {:.1} | {:.0} | {:.2} | {:.2} | {:.1} | {:.2} | {:.0} | {:.0} | {:.0} | {:.4} | {} | {:.0} | {:.0} | {:.2} |",
            row.server,
            row.listeners,
            row.cpu_us(),
            100.0 * row.user_share(),
            row.message_us,
            row.rss_kb,
            row.tcp_kb,
            row.rss_after,
            row.p50,
            row.p99,
            row.p999,
            row.delivered,
            row.lost,
            row.joins_per_sec,
            row.first_audio_p99,
            row.generator,
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(server: &str, us: f64) -> Row {
        Row {
            server: server.to_owned(),
            listeners: 10,
            system_us: us,
            ..Row::default()
        }
    }

    #[test]
    fn rounds_are_compared_with_each_other() {
        // There and back: the second round is twice as dear for both.
        let rows = [
            row("relay", 11.0),
            row("floor", 10.0),
            row("floor", 20.0),
            row("relay", 22.0),
            row("relay", 30.0),
        ];
        let ratios = Ratio::between("relay", &["floor", "icecast"], &rows);
        assert_eq!(ratios.len(), 1);
        assert_eq!(ratios[0].rounds, [1.1, 1.1]);
        assert_eq!(
            ratios[0].to_string(),
            "relay/floor at 10: 1.10 (rounds 1.10, 1.10)"
        );
        let middle = medians(&rows);
        let us: Vec<f64> = middle.iter().map(Row::cpu_us).collect();
        assert_eq!(us, [22.0, 15.0]);
    }
}
