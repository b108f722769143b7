//! Scores the player's prebuffer core on arrival traces, peers beside it.
//!
//! ```text
//! bench-playout [--seed N] [--sensitivity] [--docs]
//! bench-playout --engine ARGS       as `playout ARGS`
//! ```
//!
//! Always on the seeded traces of `tests::playout::generate`. With `SEAMCAST_TRACES`
//! naming a folder with measured traces and their `score.py`, on those too: scored
//! by that program, causality checked, our own model compared with it. Results go to
//! `target/bench/playout.json`, plots beside it; `--docs` puts table and plots into
//! `docs/playout/`. `--sensitivity` tells how much each constant matters.

use anyhow::{Context, Result, bail};
use seamcast_player::prebuffer::Tuning;
use serde_json::{Map, Value, json};
use std::fmt::Write as _;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::process::Command;
use tests::playout::cli::{self, Options};
use tests::playout::generate::{self, Kind};
use tests::playout::model::{Outcome, Trace, run};
use tests::playout::peers::Threshold;
use tests::playout::plot::{self, Point};
use tests::playout::report::{Row, Summary, table};
use tests::playout::validate::validate;

/// The columns beside ours.
const OTHERS: [&str; 4] = ["without stretch", "at once", "1 s once", "1 s again"];

/// A trace and how the player would play it.
struct Item {
    group: String,
    mode: &'static str,
    trace: Trace,
}

fn main() -> Result<()> {
    let mut args: Vec<String> = std::env::args().skip(1).collect();
    if args.first().is_some_and(|a| a == "--engine") {
        return cli::main(
            args.split_off(1),
            &mut BufWriter::new(std::io::stdout().lock()),
        );
    }
    let (mut seed, mut sensitive, mut docs) = (1, false, false);
    let mut args = args.into_iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--seed" => {
                seed = args
                    .next()
                    .and_then(|v| v.parse().ok())
                    .context("--seed needs a whole number")?
            }
            "--sensitivity" => sensitive = true,
            "--docs" => docs = true,
            other => bail!("unknown argument {other:?}; there are --seed N, --sensitivity, --docs"),
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let results = root.join("target/bench");
    let plots = if docs {
        root.join("docs/playout")
    } else {
        results.join("playout")
    };
    std::fs::create_dir_all(&plots).with_context(|| format!("cannot make {}", plots.display()))?;
    std::fs::create_dir_all(&results)?;

    let generated: Vec<Item> = generate::all(seed).into_iter().map(item).collect();
    let mut text = String::new();
    let mut json = Map::new();
    section(
        &mut text,
        &mut json,
        &format!("Generated traces (seed {seed})"),
        "generated",
        &generated,
        &plots,
    )?;
    if sensitive {
        text += &sensitivity("Generated traces", &generated)?;
    }
    if let Ok(lab) = std::env::var("SEAMCAST_TRACES") {
        let lab = PathBuf::from(lab);
        let measured = measured(&lab)?;
        section(
            &mut text,
            &mut json,
            "Measured traces",
            "measured",
            &measured,
            &plots,
        )?;
        if sensitive {
            text += &sensitivity("Measured traces", &measured)?;
        }
        let scored = score(&lab, &results, &measured)?;
        text += &scored.0;
        json.insert("score".into(), scored.1);
    } else {
        eprintln!("SEAMCAST_TRACES is not set: measured traces are left out");
    }
    println!("{text}");
    std::fs::write(
        results.join("playout.json"),
        serde_json::to_string_pretty(&Value::Object(json))?,
    )?;
    if docs {
        std::fs::write(
            plots.join("results.md"),
            format!(
                "# Playout results\n\nWritten by `cargo xtask bench playout --docs`.\n\n{text}"
            ),
        )?;
    }
    Ok(())
}

fn item(g: generate::Generated) -> Item {
    let mode = match g.kind {
        Kind::Live => "live",
        Kind::Speech => "tts",
        Kind::File => "file",
    };
    Item {
        group: g.group.to_owned(),
        mode,
        trace: g.trace,
    }
}

fn groups(items: &[Item]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for i in items {
        if !names.contains(&i.group) {
            names.push(i.group.clone());
        }
    }
    names
}

fn ours(item: &Item, stretch: bool, tuning: &Tuning) -> Result<Outcome> {
    let mut options = Options::for_mode(Some(item.mode))?;
    if !stretch {
        options.stretch = 0.0;
    }
    let mut core = options.core();
    core.set_tuning(*tuning);
    Ok(run(&mut core, &item.trace, &mut |_, _| {}))
}

/// Ours, then the others in the order of [`OTHERS`].
fn outcomes(item: &Item) -> Result<[Outcome; 5]> {
    let peer = |mut p: Threshold| run(&mut p, &item.trace, &mut |_, _| {});
    let default = Tuning::DEFAULT;
    let peers = [
        peer(Threshold::at_once()),
        peer(Threshold::once(1_000.0)),
        peer(Threshold::again(1_000.0)),
    ];
    Ok([
        ours(item, true, &default)?,
        ours(item, false, &default)?,
        peers[0],
        peers[1],
        peers[2],
    ])
}

fn section(
    text: &mut String,
    json: &mut Map<String, Value>,
    title: &str,
    key: &str,
    items: &[Item],
    plots: &Path,
) -> Result<()> {
    let all: Vec<[Outcome; 5]> = items.iter().map(outcomes).collect::<Result<_>>()?;
    let row = |name: &str| {
        let of = |k: usize| {
            let chosen: Vec<Outcome> = items
                .iter()
                .zip(&all)
                .filter(|(i, _)| name == "all" || i.group == name)
                .map(|(_, o)| o[k])
                .collect();
            Summary::of(&chosen)
        };
        Row {
            group: name.to_owned(),
            ours: of(0),
            others: (1..5).map(of).collect(),
        }
    };
    let mut names = groups(items);
    for name in &names {
        let points: Vec<Point> = items
            .iter()
            .zip(&all)
            .filter(|(i, _)| &i.group == name)
            .map(|(i, o)| Point {
                oracle: i.trace.oracle_delay(),
                delay: o[0].start_delay,
                silence: o[0].silence,
                peer_silence: o[4].silence,
            })
            .collect();
        let path = plots.join(format!("{key}-{name}.svg"));
        std::fs::write(&path, plot::group(&format!("{name} ({key})"), &points))
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    let links: Vec<String> = names
        .iter()
        .map(|name| format!("![{name}]({key}-{name}.svg)"))
        .collect();
    names.push("all".to_owned());
    let rows: Vec<Row> = names.iter().map(|n| row(n)).collect();
    let _ = writeln!(text, "## {title}\n\n{}", table(&OTHERS, &rows));
    let dropped: f64 = items
        .iter()
        .zip(&all)
        .filter(|(i, _)| i.mode != "live")
        .map(|(_, o)| o[0].dropped)
        .sum();
    let _ = writeln!(
        text,
        "Dropped from speech and files: {dropped:.0} ms.\n\n{}\n",
        links.join("\n")
    );
    let mut object = Map::new();
    for r in &rows {
        let mut entry = Map::new();
        entry.insert("ours".into(), r.ours.json());
        for (name, s) in OTHERS.iter().zip(&r.others) {
            entry.insert((*name).into(), s.json());
        }
        object.insert(r.group.clone(), Value::Object(entry));
    }
    json.insert(key.into(), Value::Object(object));
    Ok(())
}

/// Mean cost and gapless share when each constant is halved or doubled, and whether a choice among these
/// made on a part of the traces would be better on the others.
fn sensitivity(title: &str, items: &[Item]) -> Result<String> {
    let outcomes =
        |t: &Tuning| -> Result<Vec<Outcome>> { items.iter().map(|i| ours(i, true, t)).collect() };
    let costs = |all: &[Outcome]| all.iter().map(Outcome::cost).collect::<Vec<f64>>();
    let show = |all: &[Outcome]| {
        let s = Summary::of(all);
        format!("{:.0}, {:.0} %", s.cost, s.gapless)
    };
    let base = outcomes(&Tuning::DEFAULT)?;
    let mut variants = vec![costs(&base)];
    let mut text = format!(
        "### {title}: how much each constant matters\n\nCost and gapless share at half, at one and at twice the constant.\n\n"
    );
    text += "| constant | value | × 0.5 | × 1 | × 2 |\n|---|---:|---:|---:|---:|\n";
    for (index, name) in Tuning::NAMES.iter().enumerate() {
        let mut default = Tuning::DEFAULT;
        let value = default.field(index).copied().unwrap_or_default();
        let mut scaled = |factor: f64| -> Result<String> {
            let mut t = Tuning::DEFAULT;
            if let Some(field) = t.field(index) {
                *field *= factor;
            }
            let all = outcomes(&t)?;
            variants.push(costs(&all));
            Ok(show(&all))
        };
        let (half, twice) = (scaled(0.5)?, scaled(2.0)?);
        let one = show(&base);
        let _ = writeln!(text, "| `{name}` | {value} | {half} | {one} | {twice} |");
    }
    let names = groups(items);
    let by_group: Vec<usize> = items
        .iter()
        .map(|i| names.iter().position(|n| *n == i.group).unwrap_or(0))
        .collect();
    let by_trace: Vec<usize> = (0..items.len()).map(|i| i % 5).collect();
    let _ = writeln!(
        text,
        "\n### {title}: cross-validation\n\nFor each part held back, the best of these {} sets of constants on the other parts; \
         mean cost of what was held back.\n\n\
         | held back | parts | as they are | as chosen | best in hindsight | unchanged |\n|---|---:|---:|---:|---:|---:|",
        variants.len()
    );
    for (what, fold) in [("every fifth trace", by_trace), ("a group", by_group)] {
        let v = validate(&variants, &fold);
        let _ = writeln!(
            text,
            "| {what} | {} | {:.0} | {:.0} | {:.0} | {} |",
            v.folds, v.kept, v.chosen, v.best, v.unchanged
        );
    }
    text.push('\n');
    Ok(text)
}

/// Reads the measured traces through their own tools: the CSVs exported, the modes from the manifest.
fn measured(lab: &Path) -> Result<Vec<Item>> {
    const LIST: &str = "import json,sys,tarfile\n\
        t=tarfile.open(sys.argv[1],'r:xz')\n\
        for i in t:\n\
        \x20if i.name=='manifest.json':\n\
        \x20 for m in json.loads(t.extractfile(i).read()): print(m['name'],m['group'],m['mode'])\n";
    let scratch = std::env::temp_dir().join(format!("bench-playout-{}", std::process::id()));
    let list = python(
        Command::new("python3")
            .args(["-c", LIST])
            .arg(lab.join("traces.tar.xz")),
    )?;
    python(
        Command::new("python3")
            .arg(lab.join("score.py"))
            .arg("--export")
            .arg(&scratch),
    )?;
    let mut items = Vec::new();
    for line in list.lines() {
        let mut words = line.split_whitespace();
        let (Some(name), Some(group), Some(mode)) = (words.next(), words.next(), words.next())
        else {
            continue;
        };
        let file = scratch.join(group).join(format!("{name}.csv"));
        // The manifest may list traces that are kept elsewhere.
        let Ok(csv) = std::fs::read_to_string(&file) else {
            continue;
        };
        let mode = match mode {
            "live" => "live",
            "file" => "file",
            _ => "tts",
        };
        items.push(Item {
            group: group.to_owned(),
            mode,
            trace: Trace::parse(name, &csv)?,
        });
    }
    std::fs::remove_dir_all(&scratch).ok();
    if items.is_empty() {
        bail!(
            "no traces in {}; SEAMCAST_TRACES must name the folder that holds traces.tar.xz and score.py",
            lab.display()
        );
    }
    Ok(items)
}

fn python(command: &mut Command) -> Result<String> {
    let out = command
        .output()
        .with_context(|| format!("cannot run {command:?}"))?;
    if !out.status.success() {
        bail!(
            "{command:?} failed: {}",
            String::from_utf8_lossy(&out.stderr)
        );
    }
    Ok(String::from_utf8(out.stdout)?)
}

/// Runs the lab's scorer on this program, once told nothing and once told each trace's mode.
fn score(lab: &Path, results: &Path, items: &[Item]) -> Result<(String, Value)> {
    let exe = std::env::current_exe()?;
    let exe = exe.display();
    let work = std::env::temp_dir().join(format!("bench-playout-score-{}", std::process::id()));
    let mut text = String::from("## The scorer's own words\n\n");
    let mut all = Map::new();
    for (key, title, command, batch) in [
        (
            "untold",
            "told nothing of the content",
            format!("'{exe}' --engine --traces"),
            true,
        ),
        (
            "told",
            "told each trace's mode",
            format!("'{exe}' --engine --mode {{mode}} --trace"),
            false,
        ),
    ] {
        let file = results.join(format!("playout-score-{key}.json"));
        let mut run = Command::new("python3");
        run.arg(lab.join("score.py"))
            .args(["--cmd", &command, "--check-causal", "40", "--json"])
            .arg(&file)
            .arg("--work")
            .arg(&work);
        if batch {
            run.arg("--batch");
        } else {
            run.arg("--no-baselines");
        }
        let said = python(&mut run)?;
        let json: Value = serde_json::from_str(&std::fs::read_to_string(&file)?)?;
        let _ = writeln!(
            text,
            "### ENGINE {title}\n\n```text\n{}\n```\n",
            said.trim()
        );
        if batch {
            let cost: Vec<Outcome> = items
                .iter()
                .map(|i| run_untold(&i.trace))
                .collect::<Result<_>>()?;
            let (mine, theirs) = (
                Summary::of(&cost).cost,
                json["table"]["ALL"]["ENGINE"]["cost"]
                    .as_f64()
                    .unwrap_or(f64::NAN),
            );
            let _ = writeln!(
                text,
                "Our own model gives a mean cost of {mine:.1} where the scorer gives {theirs:.1}.\n"
            );
        }
        if let Some(problems) = json["problems"].as_array().filter(|p| !p.is_empty()) {
            bail!(
                "score.py names {} problems, the first: {}",
                problems.len(),
                problems[0]
            );
        }
        all.insert(key.into(), json);
    }
    std::fs::remove_dir_all(&work).ok();
    Ok((text, json!(all)))
}

fn run_untold(trace: &Trace) -> Result<Outcome> {
    Ok(run(
        &mut Options::for_mode(None)?.core(),
        trace,
        &mut |_, _| {},
    ))
}
