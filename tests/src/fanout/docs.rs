//! The results in `docs/fanout.md`: tables between markers, and how they
//! compare with what was aimed at.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result};

use super::report::{Machine, Ratio, Results, Row, table};
use super::{plot, stream};

/// How long the first frame of a chunk waits for its last one, ms.
fn wait_ms() -> f64 {
    let others = stream::frames_per_chunk().saturating_sub(1);
    stream::length(others as u64).as_secs_f64() * 1000.0
}

/// Writes results, plot and tables below the documents' folder. Parts that
/// are empty in `results` stay as they were.
///
/// # Errors
/// When files cannot be read or written, or a marker is missing.
pub fn write(docs: &Path, results: Results) -> Result<()> {
    let folder = docs.join("fanout");
    std::fs::create_dir_all(&folder)?;
    let file = folder.join("results.json");
    let before = std::fs::read_to_string(&file)
        .ok()
        .and_then(|text| serde_json::from_str(&text).ok());
    let results = merge(before.unwrap_or_default(), results);
    std::fs::write(&file, serde_json::to_string_pretty(&results)? + "\n")?;
    if !results.growth.is_empty() {
        std::fs::write(folder.join("growth.svg"), plot::growth(&results.growth))?;
    }
    let page = docs.join("fanout.md");
    let mut text = std::fs::read_to_string(&page)?;
    for (name, block) in blocks(&results) {
        text = replace(&text, name, &block)?;
    }
    std::fs::write(&page, text)?;
    Ok(())
}

fn merge(before: Results, now: Results) -> Results {
    let keep = |now: Vec<Row>, before: Vec<Row>| if now.is_empty() { before } else { now };
    let again = !now.servers.is_empty();
    Results {
        machine: now.machine,
        secs: if again { now.secs } else { before.secs },
        rounds: if again { now.rounds } else { before.rounds },
        ratios: if again { now.ratios } else { before.ratios },
        servers: keep(now.servers, before.servers),
        storm: keep(now.storm, before.storm),
        growth: keep(now.growth, before.growth),
        minute: keep(now.minute, before.minute),
    }
}

/// Puts `block` between the markers called `name`.
fn replace(text: &str, name: &str, block: &str) -> Result<String> {
    let (begin, end) = (format!("<!-- {name} -->\n"), format!("<!-- /{name} -->"));
    let parts = text.split_once(&begin).and_then(|(before, rest)| {
        let (_, after) = rest.split_once(&end)?;
        Some((before, after))
    });
    let (before, after) =
        parts.with_context(|| format!("docs/fanout.md has no markers <!-- {name} -->"))?;
    Ok(format!("{before}{begin}\n{block}\n{end}{after}"))
}

fn blocks(results: &Results) -> Vec<(&'static str, String)> {
    let mut blocks = vec![("targets", targets(results))];
    if !results.servers.is_empty() {
        blocks.push(("servers", servers(results)));
    }
    for (name, rows) in [("storm", &results.storm), ("minute", &results.minute)] {
        if !rows.is_empty() {
            blocks.push((name, format!("{}:\n\n{}", load(rows), table(rows))));
        }
    }
    if !results.growth.is_empty() {
        blocks.push(("growth", growth(&results.growth)));
    }
    blocks
}

fn machine(machine: &Machine) -> String {
    format!(
        "{} × {}, Linux {}",
        machine.cores, machine.processor, machine.kernel
    )
}

/// The load averages at the ends of measurements.
fn load(rows: &[Row]) -> String {
    let loads = || rows.iter().map(|row| row.load_average);
    let (least, most) = (
        loads().fold(f64::MAX, f64::min),
        loads().fold(0.0, f64::max),
    );
    if most - least < 0.05 {
        format!("Load average {most:.1}")
    } else {
        format!("Load average {least:.1} to {most:.1}")
    }
}

fn servers(results: &Results) -> String {
    let mut out = format!(
        "{}. {}, {} s each; the relay, Icecast and the bare `send` in turn, medians of {} rounds:\n\n{}",
        machine(&results.machine),
        load(&results.servers),
        results.secs,
        results.rounds,
        table(&results.servers)
    );
    if !results.ratios.is_empty() {
        out.push_str("\nCPU by that of a peer in the same round:\n\n| | listeners | median | rounds |\n|---|--:|--:|---|\n");
    }
    for ratio in &results.ratios {
        let rounds: Vec<String> = ratio.rounds.iter().map(|r| format!("{r:.2}")).collect();
        let _ = writeln!(
            out,
            "| {} / {} | {} | {:.2} | {} |",
            ratio.server,
            ratio.peer,
            ratio.listeners,
            ratio.median(),
            rounds.join(", ")
        );
    }
    out
}

fn growth(rows: &[Row]) -> String {
    let mut out = format!(
        "{}:\n\n| listeners | relay CPU µs per listener·s | bare `send` | ratio | relay p50 ms | p99 | p99.9 | bare p99 | relay RSS KB |\n\
         |--:|--:|--:|--:|--:|--:|--:|--:|--:|\n",
        load(rows)
    );
    for relay in rows.iter().filter(|row| row.server == "relay") {
        let same = |row: &&Row| row.server == "floor" && row.listeners == relay.listeners;
        let floor = rows.iter().find(same).cloned().unwrap_or_default();
        let _ = writeln!(
            out,
            "| {} | {:.1} | {:.1} | {:.2} | {:.0} | {:.0} | {:.0} | {:.0} | {:.2} |",
            relay.listeners,
            relay.cpu_us(),
            floor.cpu_us(),
            relay.cpu_us() / floor.cpu_us().max(f64::MIN_POSITIVE),
            relay.p50,
            relay.p99,
            relay.p999,
            floor.p99,
            relay.rss_kb
        );
    }
    out
}

/// What was aimed at and what was seen, in order.
fn targets(results: &Results) -> String {
    let wait = wait_ms();
    let mut out = String::from("| Target | Seen | |\n|---|---|---|\n");
    let mut line = |target: &str, seen: Vec<(String, bool)>| {
        let met = match (seen.len(), seen.iter().filter(|(_, met)| *met).count()) {
            (0, _) => "not run",
            (all, met) if met == all => "met",
            (_, 0) => "**missed**",
            _ => "**partly**",
        };
        let seen: Vec<String> = seen.into_iter().map(|(text, _)| text).collect();
        let _ = writeln!(out, "| {target} | {} | {met} |", seen.join("; "));
    };
    let ratio = |peer: &str, most: f64| -> Vec<(String, bool)> {
        let of = |ratio: &&Ratio| ratio.server == "relay" && ratio.peer == peer;
        let seen = |r: &Ratio| {
            let same =
                |f: &&Ratio| f.server == "floor" && f.peer == peer && f.listeners == r.listeners;
            let floor = results.ratios.iter().find(same);
            let floor = floor.map_or_else(String::new, |floor| {
                format!(" (the bare `send` {:.2})", floor.median())
            });
            let text = format!("{:.2} at {}{floor}", r.median(), r.listeners);
            (text, r.median() <= most)
        };
        results.ratios.iter().filter(of).map(seen).collect()
    };
    line("CPU ≤ 1.2 × the bare `send`", ratio("floor", 1.2));
    line("CPU ≤ 0.8 × Icecast", ratio("icecast", 0.8));
    let find = |server: &str, listeners: usize| {
        let same = |row: &&Row| row.server == server && row.listeners == listeners;
        results.servers.iter().find(same)
    };
    let relay: Vec<&Row> = results
        .servers
        .iter()
        .filter(|row| row.server == "relay")
        .collect();
    let each = |seen: &dyn Fn(&Row) -> (String, bool)| relay.iter().map(|row| seen(row)).collect();
    line(
        "user space ≤ 15 %",
        each(&|row| {
            let share = 100.0 * row.user_share();
            (format!("{share:.0} % at {}", row.listeners), share <= 15.0)
        }),
    );
    line(
        "RSS ≤ 2.5 KB per listener",
        each(&|row| {
            let text = format!("{:.2} KB at {}", row.rss_kb, row.listeners);
            (text, row.rss_kb <= 2.5)
        }),
    );
    line(
        "RSS within 10 % of the start after all leave",
        each(&|row| {
            let text = format!("{:.2} × after {}", row.rss_after, row.listeners);
            (text, row.rss_after <= 1.1)
        }),
    );
    line(
        "p99 over the chunk ≤ 30 ms at 1,000 and ≤ 80 ms at more",
        each(&|row| {
            let over = row.p99 - wait;
            let floor = find("floor", row.listeners);
            let floor = floor.map_or_else(String::new, |floor| {
                format!(", the bare `send` {:.0} ms", floor.p99 - wait)
            });
            let most = if row.listeners <= 1000 { 30.0 } else { 80.0 };
            (
                format!("{over:.0} ms at {}{floor}", row.listeners),
                over <= most,
            )
        }),
    );
    let cpu = results.growth.iter().filter(|row| row.server == "relay");
    let cpu: Vec<f64> = cpu.map(Row::cpu_us).collect();
    let (least, most) = (
        cpu.iter().copied().fold(f64::MAX, f64::min),
        cpu.iter().copied().fold(0.0, f64::max),
    );
    let middle = f64::midpoint(least, most);
    let spread = 100.0 * (most - middle) / middle;
    let grown = (!cpu.is_empty()).then(|| {
        let text = format!("{least:.0} to {most:.0} µs, ± {spread:.0} % around their middle");
        (text, spread <= 20.0)
    });
    line(
        "CPU per listener within 20 % from 500 to 8,000",
        grown.into_iter().collect(),
    );
    let minute = results.minute.iter().map(|row| {
        let text = format!("{:.4} delivered, {} lost", row.delivered, row.lost);
        (text, row.delivered >= 0.999 && row.lost == 0)
    });
    line(
        "10,000 listeners for a minute: 0.999 delivered, none lost",
        minute.collect(),
    );
    let storm = results.storm.iter().filter(|row| row.server == "relay");
    let storm = storm.map(|row| {
        let text = format!(
            "{} lost, first audio p99 {:.0} ms, {:.0} joins/s by the generator",
            row.lost, row.first_audio_p99, row.joins_per_sec
        );
        (text, row.lost == 0 && row.first_audio_p99 <= 1500.0)
    });
    line(
        "5,000 joins all served, first audio p99 ≤ 1.5 s",
        storm.collect(),
    );
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_between_the_markers_changes() {
        let text = "before\n<!-- a -->\nold\n<!-- /a -->\nafter <!-- b -->\n<!-- /b -->";
        let new = replace(text, "a", "new").expect("markers");
        assert_eq!(
            new,
            "before\n<!-- a -->\n\nnew\n<!-- /a -->\nafter <!-- b -->\n<!-- /b -->"
        );
        assert_eq!(replace(&new, "a", "new").expect("markers"), new);
        assert!(replace(text, "c", "").is_err());
    }

    #[test]
    fn what_was_not_run_stays() {
        let row = |server: &str| Row {
            server: server.to_owned(),
            ..Row::default()
        };
        let before = Results {
            storm: vec![row("old")],
            growth: vec![row("old")],
            ..Results::default()
        };
        let now = Results {
            growth: vec![row("new")],
            ..Results::default()
        };
        let merged = merge(before, now);
        assert_eq!(merged.storm[0].server, "old");
        assert_eq!(merged.growth[0].server, "new");
        assert!(targets(&merged).contains("| not run |"));
    }
}
