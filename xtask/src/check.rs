//! `cargo xtask check`: what can be said about the code without running it.

use crate::layering;
use crate::need::{self, Purpose};
use crate::sh::{self, cargo, cmd, output, root, run, step, which};
use crate::wasm;
use anyhow::{Result, bail};
use std::fs;

/// Files over this many lines are named, not refused: is each still one room?
const LONG: usize = 500;

/// A heading, the check under it, and a program without which it is left out:
/// one that no system packages, so that `need` cannot bring it.
type Check = (&'static str, fn() -> Result<()>, Option<&'static str>);

const CHECKS: [Check; 8] = [
    ("Format", format, None),
    ("Layering", layering::check, None),
    ("Long files", long_files, None),
    ("Clippy, host", clippy_host, None),
    ("Clippy, wasm32", clippy_wasm, None),
    ("Documentation", documentation, None),
    ("Types of the npm package", types, None),
    (
        "Licences and sources of dependencies",
        licences,
        Some("cargo-deny"),
    ),
];

/// Runs every check, so that one run tells all that is wrong, and says at the
/// end which were left out.
pub(crate) fn check(mut args: Vec<String>) -> Result<()> {
    let yes = sh::take_flag(&mut args, "--yes");
    sh::no_more(&args)?;
    need::ensure(Purpose::Check, yes)?;
    let (mut passed, mut failed, mut skipped) = (0, Vec::new(), Vec::new());
    for (heading, check, program) in CHECKS {
        if let Some(program) = program.filter(|program| which(program).is_none()) {
            skipped.push(format!(
                "{heading}: {program} is not installed; `cargo install {program} --locked`"
            ));
            continue;
        }
        match step(heading, check) {
            Ok(()) => passed += 1,
            Err(error) => {
                eprintln!("    {error:#}");
                failed.push(heading);
            }
        }
    }
    println!(
        "\n{passed} checks passed, {} failed, {} skipped",
        failed.len(),
        skipped.len()
    );
    for line in skipped {
        println!("skipped: {line}");
    }
    if !failed.is_empty() {
        bail!("these checks failed: {}", failed.join("; "));
    }
    Ok(())
}

fn clippy_host() -> Result<()> {
    run(cargo()
        .args(["clippy", "--workspace", "--all-targets", "--"])
        .args(["-D", "warnings"]))
}

fn clippy_wasm() -> Result<()> {
    run(wasm::cargo_wasm("clippy", wasm::SIMD)?
        .args(["-p", "seamcast-media", "-p", "seamcast-protocol", "--lib"])
        .args(["--", "-D", "warnings"]))
}

fn documentation() -> Result<()> {
    run(cargo()
        .args(["doc", "--workspace", "--no-deps", "--quiet"])
        .env("RUSTDOCFLAGS", "-Dwarnings"))
}

fn types() -> Result<()> {
    run(cmd("npm")
        .args(["run", "--silent", "types"])
        .current_dir(root().join("web")))
}

/// Nothing but rustfmt's opinion, of the fuzz targets too.
pub(crate) fn format() -> Result<()> {
    run(cargo().args(["fmt", "--all", "--check"]))?;
    for manifest in ["fuzz/Cargo.toml", "xtask/wasm-tools/Cargo.toml"] {
        let manifest = root().join(manifest);
        if manifest.is_file() {
            run(cargo()
                .args(["fmt", "--check", "--manifest-path"])
                .arg(manifest))?;
        }
    }
    Ok(())
}

fn long_files() -> Result<()> {
    let listed = output(cmd("git").args([
        "ls-files", "*.rs", "*.js", "*.mjs", "*.ts", "*.css", "*.html",
    ]))?;
    for name in listed.lines() {
        let lines = fs::read_to_string(root().join(name)).map_or(0, |text| text.lines().count());
        if lines > LONG {
            eprintln!("    {name}: {lines} lines, over {LONG}");
        }
    }
    Ok(())
}

fn licences() -> Result<()> {
    if !root().join("deny.toml").is_file() {
        bail!("deny.toml is missing");
    }
    // Advisories are left to those who have a network: they are a clone away.
    for manifest in [
        "Cargo.toml",
        "fuzz/Cargo.toml",
        "xtask/wasm-tools/Cargo.toml",
    ] {
        run(cargo()
            .args(["deny", "--log-level", "error", "--manifest-path", manifest])
            .args(["--config", "deny.toml", "check", "--hide-inclusion-graph"])
            .args(["bans", "licenses", "sources"]))?;
    }
    Ok(())
}
