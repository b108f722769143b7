//! `cargo xtask bench [NAME] [ARGS]`: the benchmarks, each with its peer in the same run.

use crate::need::{self, Purpose};
use crate::sh::{self, cargo, output, run, step, target};
use crate::wasm;
use anyhow::{Context, Result, bail};
use serde_json::Value;

const PREFIX: &str = "bench-";
/// The one that needs neither browser nor player, but servers to compare with.
const FANOUT: &str = "fanout";

/// Runs one benchmark, or all; without any argument that names one, all.
pub(crate) fn bench(mut args: Vec<String>) -> Result<()> {
    let yes = sh::take_flag(&mut args, "--yes");
    let names = names()?;
    if sh::take_flag(&mut args, "--list") {
        for name in &names {
            println!("{name}");
        }
        return Ok(());
    }
    let chosen = match args.first().filter(|arg| !arg.starts_with('-')).cloned() {
        Some(name) => {
            if !names.contains(&name) {
                bail!("no benchmark {name:?}; there are {}", names.join(", "));
            }
            args.remove(0);
            vec![name]
        }
        None => names,
    };
    if chosen.iter().any(|name| name != FANOUT) {
        need::ensure(Purpose::Test, yes)?;
        wasm::build()?;
    }
    if chosen.iter().any(|name| name == FANOUT) {
        need::ensure(Purpose::Fanout, yes)?;
    }
    let results = target().join("bench");
    std::fs::create_dir_all(&results)?;
    for name in &chosen {
        step(&format!("Benchmark {name}"), || {
            run(cargo()
                .args(["run", "--release", "-p", "tests", "--bin"])
                .arg(format!("{PREFIX}{name}"))
                .arg("--")
                .args(&args))
        })?;
    }
    eprintln!("\nresults as JSON: {}", results.display());
    Ok(())
}

fn names() -> Result<Vec<String>> {
    let text = output(cargo().args(["metadata", "--no-deps", "--format-version", "1"]))?;
    let metadata: Value = serde_json::from_str(&text).context("cargo metadata is not JSON")?;
    let mut names: Vec<String> = binaries(&metadata, "tests")
        .iter()
        .filter_map(|name| name.strip_prefix(PREFIX).map(str::to_owned))
        .collect();
    names.sort();
    if names.is_empty() {
        bail!("the package `tests` has no binary named {PREFIX}NAME");
    }
    Ok(names)
}

/// The names of a package's binaries, from `cargo metadata`.
pub(crate) fn binaries(metadata: &Value, package: &str) -> Vec<String> {
    let array = |value: &Value| value.as_array().cloned().unwrap_or_default();
    array(&metadata["packages"])
        .iter()
        .filter(|candidate| candidate["name"] == package)
        .flat_map(|found| array(&found["targets"]))
        .filter(|target| array(&target["kind"]).iter().any(|kind| kind == "bin"))
        .filter_map(|target| target["name"].as_str().map(str::to_owned))
        .collect()
}
