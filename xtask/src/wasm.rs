//! The player: Rust → two wasm modules (with SIMD and without) → the npm package.

use crate::sh::{cargo, cmd, root, run, step, target};
use crate::stamp::{self, Fingerprint};
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::PathBuf;
use std::process::Command;

const TARGET: &str = "wasm32-unknown-unknown";

/// One of the two builds of the same source.
#[derive(Clone, Copy)]
pub(crate) struct Flavour {
    /// Its target folder under `target/`, so that neither overwrites the other's C objects.
    folder: &'static str,
    /// The file's name in the npm package.
    file: &'static str,
    simd: bool,
}

pub(crate) const SIMD: Flavour = Flavour {
    folder: "wasm-simd",
    file: "player.wasm",
    simd: true,
};
pub(crate) const PLAIN: Flavour = Flavour {
    folder: "wasm-plain",
    file: "player-nosimd.wasm",
    simd: false,
};

/// Where the npm package is put together.
pub(crate) fn package_dir() -> PathBuf {
    root().join("web/dist/player")
}

fn tools_dir() -> PathBuf {
    root().join("xtask/wasm-tools")
}

/// Folders with a `package-lock.json` that the wasm and page builds use.
pub(crate) fn npm_dirs() -> [PathBuf; 2] {
    [tools_dir(), root().join("web")]
}

/// Builds what changed: modules, package, page. Prints the sizes and holds the ceilings.
pub(crate) fn build() -> Result<()> {
    let inputs = module_inputs()?;
    let outputs = [SIMD.file, PLAIN.file];
    let have = outputs.iter().all(|file| package_dir().join(file).exists());
    if have && stamp::is_fresh("wasm", &inputs) {
        eprintln!("==> The player's wasm modules are up to date");
    } else {
        modules()?;
        stamp::remember("wasm", &inputs)?;
    }
    let inputs = page_inputs(&inputs)?;
    if package_dir().join("index.js").exists() && stamp::is_fresh("web", &inputs) {
        eprintln!("==> The npm package and the page are up to date");
    } else {
        step("Bundling the npm package and the page", || {
            run(cmd("node").arg("web/build.mjs"))
        })?;
        stamp::remember("web", &inputs)?;
    }
    Ok(())
}

/// Says whether everything that [`build`] makes is there, for `--no-build`.
pub(crate) fn is_built() -> bool {
    [SIMD.file, PLAIN.file, "index.js"]
        .iter()
        .all(|file| package_dir().join(file).exists())
}

fn module_inputs() -> Result<Fingerprint> {
    Fingerprint::of(
        &[
            "player-wasm",
            "protocol",
            "media",
            "Cargo.toml",
            "Cargo.lock",
            "rust-toolchain.toml",
            "xtask/wasm-tools",
            "xtask/src/wasm.rs",
        ]
        .map(|path| root().join(path)),
    )
}

fn page_inputs(modules: &Fingerprint) -> Result<Fingerprint> {
    let mut sum = Fingerprint::of(&[root().join("web")])?;
    sum.add(modules.hex().as_bytes());
    Ok(sum)
}

fn modules() -> Result<()> {
    step("Compiling the player for WebAssembly, with SIMD", || {
        compile(SIMD)
    })?;
    step("Compiling the player for WebAssembly, without SIMD", || {
        compile(PLAIN)
    })?;
    step("Compiling the tool that binds and trims modules", || {
        run(cargo()
            .args(["build", "--locked", "--manifest-path"])
            .arg(tools_dir().join("Cargo.toml"))
            .arg("--target-dir")
            .arg(target().join("wasm-tools")))
    })?;
    step(
        "Binding, trimming and optimising the modules (wasm-opt)",
        || {
            fs::create_dir_all(package_dir())?;
            optimise(SIMD)?;
            optimise(PLAIN)
        },
    )
}

/// `cargo SUBCOMMAND` for wasm32, with what libopus's C needs to be compiled.
pub(crate) fn cargo_wasm(subcommand: &str, flavour: Flavour) -> Result<Command> {
    let file = root().join("player-wasm/wasm.env");
    let text =
        fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let shims = root().join("player-wasm/libc-shims");
    let mut command = cargo();
    command
        .arg(subcommand)
        .args(["-p", "seamcast-player", "--target", TARGET])
        .arg("--target-dir")
        .arg(target().join(flavour.folder));
    for line in text.lines().map(str::trim) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let Some((name, value)) = line.split_once('=') else {
            bail!("{}: {line:?} is not NAME=value", file.display());
        };
        let (cflags, rustflags) = if flavour.simd {
            ("-msimd128", "+simd128")
        } else {
            ("", "-simd128")
        };
        let value = value
            .replace("{cflags}", cflags)
            .replace("{rustflags}", rustflags)
            .replace("{shims}", &shims.to_string_lossy());
        command.env(name, value);
    }
    // Either would make cargo overlook the flags meant for this target alone.
    command.env_remove("RUSTFLAGS");
    command.env_remove("CARGO_ENCODED_RUSTFLAGS");
    Ok(command)
}

fn compile(flavour: Flavour) -> Result<()> {
    // Cargo does not watch what libopus's C is compiled with.
    let with = Fingerprint::of(
        &["player-wasm/wasm.env", "player-wasm/libc-shims"].map(|p| root().join(p)),
    )?;
    let name = format!("c-of-{}", flavour.folder);
    if !stamp::is_fresh(&name, &with) {
        run(cargo()
            .args(["clean", "-p", "opusic-sys", "--profile", "wasm"])
            .args(["--target", TARGET, "--target-dir"])
            .arg(target().join(flavour.folder)))?;
        stamp::remember(&name, &with)?;
    }
    run(cargo_wasm("build", flavour)?.args(["--lib", "--profile", "wasm"]))
}

/// Puts a module into the package.
fn optimise(flavour: Flavour) -> Result<()> {
    let folder = target().join(flavour.folder);
    let trimmed = folder.join("trimmed.wasm");
    run(cmd(target().join("wasm-tools/debug/xtask-module"))
        .arg(folder.join(TARGET).join("wasm/seamcast_player.wasm"))
        .arg(&trimmed))?;
    let mut command = cmd("node");
    command
        .arg(tools_dir().join("node_modules/binaryen/bin/wasm-opt"))
        .args(["-O3", "--strip-debug", "--strip-producers"])
        // Only the stack's very end lies there, so constants added to pointers
        // become offsets: less than 1 % in bytes.
        .arg("--low-memory-unused")
        // What rustc's wasm32 baseline already uses; binaryen assumes less.
        .args([
            "--enable-bulk-memory",
            "--enable-multivalue",
            "--enable-mutable-globals",
            "--enable-nontrapping-float-to-int",
            "--enable-reference-types",
            "--enable-sign-ext",
        ]);
    if flavour.simd {
        command.arg("--enable-simd");
    }
    run(command
        .arg(trimmed)
        .arg("-o")
        .arg(package_dir().join(flavour.file)))
}

/// Prints raw, gzip and brotli sizes of what a page downloads; over a ceiling is an error.
pub(crate) fn sizes() -> Result<()> {
    run(cmd("node")
        .arg(tools_dir().join("sizes.mjs"))
        .arg(package_dir()))
}
