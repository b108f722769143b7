//! The arrows of ARCHITECTURE.md: which crate may use which, and what a core file may not name.

use crate::sh::{cargo, output, root};
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

/// Workspace crates and those of the workspace that each may depend on, for any purpose.
const ARROWS: [(&str, &[&str]); 6] = [
    ("seamcast-protocol", &[]),
    ("seamcast-media", &[]),
    ("relay-server", &["seamcast-protocol", "seamcast-media"]),
    ("seamcast-player", &["seamcast-protocol", "seamcast-media"]),
    (
        "tests",
        &[
            "seamcast-protocol",
            "seamcast-media",
            "relay-server",
            "seamcast-player",
        ],
    ),
    ("xtask", &[]),
];

/// What sources under some paths may not name, and why.
struct Rule {
    under: &'static [&'static [&'static str]],
    but_not: &'static [&'static str],
    words: &'static [&'static str],
    why: &'static str,
}

/// Crates without I/O.
const PURE: &[&str] = &["media/src", "protocol/src"];
/// Runs natively, but for its shell.
const PLAYER: &[&str] = &["player-wasm/src"];
/// The relay's state machines.
const RELAY: &[&str] = &[
    "relay-server/src/ingest/head.rs",
    "relay-server/src/ingest/session.rs",
    "relay-server/src/ingest/session",
    "relay-server/src/fanout/session.rs",
    "relay-server/src/fanout/session",
    "relay-server/src/fanout/client.rs",
    "relay-server/src/fanout/wire.rs",
    "relay-server/src/fanout/cursor.rs",
];

const RULES: &[Rule] = &[
    Rule {
        under: &[PURE, PLAYER, RELAY],
        but_not: &["player-wasm/src/shell"],
        words: &["Instant::now", "SystemTime::now", "UNIX_EPOCH"],
        why: "no core reads a clock: take `now` as an argument",
    },
    Rule {
        under: &[PURE, RELAY],
        but_not: &[],
        words: &["tokio::", "std::net::", "mio::", "rustix::"],
        why: "a core does no I/O: its caller owns the socket",
    },
    Rule {
        under: &[PLAYER],
        but_not: &["player-wasm/src/shell", "player-wasm/src/lib.rs"],
        words: &[
            "crate::shell",
            "super::shell",
            "web_sys",
            "js_sys",
            "wasm_bindgen",
        ],
        why: "a core file never uses a shell file: it must run natively",
    },
];

/// Every break of the rules is named; any makes an error.
pub(crate) fn check() -> Result<()> {
    let mut breaks = arrows()?;
    for rule in RULES {
        breaks.extend(rule.breaks()?);
    }
    if !breaks.is_empty() {
        bail!("the layering is broken:\n  {}", breaks.join("\n  "));
    }
    Ok(())
}

fn arrows() -> Result<Vec<String>> {
    let text = output(cargo().args(["metadata", "--no-deps", "--format-version", "1"]))?;
    let metadata: Value = serde_json::from_str(&text).context("cargo metadata is not JSON")?;
    let packages = metadata["packages"]
        .as_array()
        .context("cargo metadata lists no packages")?;
    let names: Vec<&str> = packages.iter().filter_map(|p| p["name"].as_str()).collect();
    let mut breaks = Vec::new();
    for package in packages {
        let name = package["name"].as_str().unwrap_or_default();
        let Some((_, allowed)) = ARROWS.iter().find(|(from, _)| *from == name) else {
            breaks.push(format!("crate {name} has no place in ARCHITECTURE.md yet"));
            continue;
        };
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let to = dependency["name"].as_str().unwrap_or_default();
            // A crate may depend on itself to switch on features for its own tests.
            if to != name && names.contains(&to) && !allowed.contains(&to) {
                breaks.push(format!("{name} must not depend on {to}"));
            }
        }
    }
    Ok(breaks)
}

impl Rule {
    fn breaks(&self) -> Result<Vec<String>> {
        let excluded: Vec<PathBuf> = self.but_not.iter().map(|path| root().join(path)).collect();
        let mut breaks = Vec::new();
        for file in self.files()? {
            if excluded.iter().any(|path| file.starts_with(path)) {
                continue;
            }
            let text = fs::read_to_string(&file)
                .with_context(|| format!("cannot read {}", file.display()))?;
            let shown = file.strip_prefix(root()).unwrap_or(&file);
            breaks.extend(
                named(&text, self.words).map(|(line, word)| {
                    format!("{}:{line}: {word}: {}", shown.display(), self.why)
                }),
            );
        }
        Ok(breaks)
    }

    fn files(&self) -> Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        for path in self.under.iter().copied().flatten() {
            let found = rust_files(&root().join(path))?;
            // A rule for what was renamed would hold for nothing.
            if found.is_empty() {
                bail!("{path} has no sources; name in its rule where they are now");
            }
            files.extend(found);
        }
        Ok(files)
    }
}

/// Line numbers and words of code, not comments, that name one of `words`.
fn named<'a>(
    text: &'a str,
    words: &'a [&'static str],
) -> impl Iterator<Item = (usize, &'static str)> + 'a {
    text.lines().enumerate().flat_map(move |(at, line)| {
        let code = line.split("//").next().unwrap_or_default();
        words
            .iter()
            .filter(move |word| code.contains(*word))
            .map(move |word| (at + 1, *word))
    })
}

fn rust_files(path: &Path) -> Result<Vec<PathBuf>> {
    if path.is_file() {
        return Ok(vec![path.to_path_buf()]);
    }
    let mut files = Vec::new();
    if path.is_dir() {
        for entry in fs::read_dir(path)? {
            let child = entry?.path();
            if child.is_dir() || child.extension().is_some_and(|ext| ext == "rs") {
                files.extend(rust_files(&child)?);
            }
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_may_name_what_code_may_not() {
        let text = "// Instant::now is not for us\nlet at = Instant::now(); // why\n";
        let found: Vec<_> = named(text, RULES[0].words).collect();
        assert_eq!(found, [(2, "Instant::now")]);
    }
}
