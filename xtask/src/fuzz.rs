//! `cargo xtask fuzz [SECONDS]`: libFuzzer on the parsers of containers, RTP, sources, messages and request heads.
//!
//! Built with the pinned stable toolchain: coverage comes from LLVM's own pass,
//! whose switches are stable; only the address sanitizer would need a nightly,
//! and Rust's bounds and overflow checks (both on here) find what it would.

use crate::need::{self, Purpose};
use crate::sh::{self, cargo, output, root, run, step, target};
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::path::PathBuf;
use std::process::Command;

/// The machine's own target, named by the build script.
const HOST: &str = env!("XTASK_HOST");

const DEFAULT_SECONDS: u32 = 60;

/// What `cargo fuzz build --sanitizer none` passes, less what is nightly's.
const COVERAGE: &str = "--cfg fuzzing -Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares \
    -Cdebug-assertions=on -Coverflow-checks=on -Ccodegen-units=1";

/// Runs each target for the given time; a crash ends it and names the input.
pub(crate) fn fuzz(mut args: Vec<String>) -> Result<()> {
    let yes = sh::take_flag(&mut args, "--yes");
    let only = sh::take_value(&mut args, "--target")?;
    let seconds = match args.first() {
        Some(text) => text
            .parse::<u32>()
            .with_context(|| format!("{text:?} is not a number of seconds"))?,
        None => DEFAULT_SECONDS,
    };
    sh::no_more(args.get(1..).unwrap_or_default())?;
    need::ensure(Purpose::Fuzz, yes)?;
    step("Compiling the fuzz targets", build)?;
    let targets = targets()?;
    if let Some(name) = &only
        && !targets.contains(name)
    {
        bail!("no fuzz target {name:?}; there are {}", targets.join(", "));
    }
    for name in targets {
        if only.as_ref().is_none_or(|wanted| *wanted == name) {
            step(&format!("Fuzzing {name} for {seconds} s"), || {
                run_target(&name, seconds)
            })?;
        }
    }
    Ok(())
}

/// Compiles every target, as the tests do to keep them alive.
pub(crate) fn build() -> Result<()> {
    run(fuzz_cargo("build").args(["--release", "--bins"]))
}

fn manifest() -> PathBuf {
    root().join("fuzz/Cargo.toml")
}

fn fuzz_cargo(subcommand: &str) -> Command {
    let mut command = cargo();
    command
        .arg(subcommand)
        .arg("--manifest-path")
        .arg(manifest())
        .arg("--target-dir")
        .arg(target().join("fuzz"))
        // A target named keeps these flags from build scripts and proc macros.
        .args(["--target", HOST])
        .env("RUSTFLAGS", COVERAGE)
        .env_remove("CARGO_ENCODED_RUSTFLAGS");
    command
}

/// The names of the targets: the binaries of the fuzz package.
pub(crate) fn targets() -> Result<Vec<String>> {
    let text = output(
        cargo()
            .args([
                "metadata",
                "--no-deps",
                "--format-version",
                "1",
                "--manifest-path",
            ])
            .arg(manifest()),
    )?;
    let metadata: Value = serde_json::from_str(&text).context("cargo metadata is not JSON")?;
    let mut names: Vec<String> = crate::bench::binaries(&metadata, "seamcast-fuzz");
    names.sort();
    if names.is_empty() {
        bail!("{} has no targets", manifest().display());
    }
    Ok(names)
}

fn run_target(name: &str, seconds: u32) -> Result<()> {
    let corpus = target().join("fuzz-corpus").join(name);
    let crashes = target().join("fuzz-crashes");
    std::fs::create_dir_all(&corpus)?;
    std::fs::create_dir_all(&crashes)?;
    let mut command = sh::cmd(target().join("fuzz").join(HOST).join("release").join(name));
    command.arg(&corpus);
    // Inputs worth keeping, found earlier or written by hand.
    let seeds = root().join("fuzz/seeds").join(name);
    if seeds.is_dir() {
        command.arg(seeds);
    }
    run(command
        .arg(format!("-max_total_time={seconds}"))
        .args([
            "-rss_limit_mb=1024",
            "-timeout=10",
            "-print_final_stats=1",
            "-verbosity=0",
        ])
        .arg(format!("-artifact_prefix={}/{name}-", crashes.display())))
    .with_context(|| {
        format!(
            "{name} found an input that breaks it, kept in {}",
            crashes.display()
        )
    })
}
