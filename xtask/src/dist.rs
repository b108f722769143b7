//! `cargo xtask dist`: what a release consists of, in `dist/`.

use crate::need::{self, Purpose};
use crate::sh::{self, cargo, cmd, output, root, run, step};
use crate::{demo, wasm};
use anyhow::{Context, Result};
use std::fs;
use std::path::Path;

/// Builds the relay with the page inside and packs the npm package, with their checksums.
pub(crate) fn dist(mut args: Vec<String>) -> Result<()> {
    let yes = sh::take_flag(&mut args, "--yes");
    sh::no_more(&args)?;
    need::ensure(Purpose::Build, yes)?;
    wasm::build()?;
    wasm::sizes()?;
    let dist = root().join("dist");
    if dist.exists() {
        fs::remove_dir_all(&dist).with_context(|| format!("cannot empty {}", dist.display()))?;
    }
    fs::create_dir_all(&dist)?;
    step("Compiling the relay with the page inside", || {
        run(cargo().args([
            "build",
            "--release",
            "--locked",
            "-p",
            "relay-server",
            "--features",
            "embed",
        ]))?;
        let binary = demo::relay_binary();
        let name = binary.file_name().context("the relay's path has no name")?;
        let copy = dist.join(name);
        fs::copy(&binary, &copy).with_context(|| format!("cannot copy {}", binary.display()))?;
        part_from_debug_info(&copy)
    })?;
    step("Packing the npm package", || {
        run(cmd("npm")
            .args(["pack", "--silent", "--ignore-scripts", "--pack-destination"])
            .arg(&dist)
            .current_dir(root().join("web")))
    })?;
    // Whoever passes the program on has to pass these on, too.
    for name in ["LICENSE-MIT", "LICENSE-APACHE", "THIRD-PARTY.md"] {
        fs::copy(root().join(name), dist.join(name))
            .with_context(|| format!("cannot copy {name}"))?;
    }
    let mut names: Vec<String> = fs::read_dir(&dist)?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect();
    names.sort();
    let sums = output(cmd("sha256sum").args(&names).current_dir(&dist))?;
    fs::write(dist.join("SHA256SUMS"), &sums)?;
    eprint!("\n{sums}");
    for name in &names {
        let bytes = fs::metadata(dist.join(name))?.len();
        eprintln!("{name}: {:.1} MiB", bytes as f64 / 1_048_576.0);
    }
    Ok(())
}

/// Moves debug information to a file of its own, which debuggers and backtraces find while it lies
/// beside the program: four fifths of its size, and of no use to most who download it.
fn part_from_debug_info(binary: &Path) -> Result<()> {
    if !cfg!(target_os = "linux") {
        return Ok(());
    }
    let debug = binary.with_extension("debug");
    let objcopy = |option: &str| {
        let mut command = cmd("objcopy");
        command.arg(option);
        command
    };
    run(objcopy("--only-keep-debug").arg(binary).arg(&debug))?;
    let link = format!("--add-gnu-debuglink={}", debug.display());
    run(objcopy("--strip-all").arg(link).arg(binary))
}
