//! `cargo xtask test`: everything the tests need, then every suite.

use crate::need::{self, Purpose};
use crate::sh::{self, cargo, cmd, root, shown};
use crate::{check, fuzz, layering, wasm};
use anyhow::{Context, Result, bail};
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How many tests a suite ran.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
struct Count {
    passed: u64,
    failed: u64,
}

impl Count {
    const ONE: Self = Self {
        passed: 1,
        failed: 0,
    };
}

struct Suite {
    name: &'static str,
    run: fn() -> Result<Count>,
}

/// In this order: what is quick and what others stand on comes first.
const SUITES: &[Suite] = &[
    Suite {
        name: "format and layering",
        run: || {
            check::format()?;
            layering::check()?;
            Ok(Count {
                passed: 2,
                failed: 0,
            })
        },
    },
    Suite {
        name: "player builds for WebAssembly and is small",
        run: || {
            wasm::build()?;
            wasm::sizes()?;
            Ok(Count::ONE)
        },
    },
    Suite {
        name: "npm package in Node",
        run: || counted(cmd("npm").args(["test"]).current_dir(root().join("web"))),
    },
    Suite {
        name: "npm package, packed and installed",
        run: || counted(cmd("node").args(["tests/package/run.mjs", "--quick"])),
    },
    Suite {
        name: "cores and relay (cargo test)",
        run: || counted(cargo().args(["test", "--workspace", "--exclude", "tests"])),
    },
    Suite {
        name: "end to end: clients, references, README",
        run: || {
            // The tests start this binary; built here, no test waits for it.
            sh::run(cargo().args(["build", "-p", "relay-server"]))?;
            counted(cargo().args(["test", "-p", "tests"]))
        },
    },
    Suite {
        name: "fuzz targets compile",
        run: || {
            fuzz::build()?;
            Ok(Count::ONE)
        },
    },
    Suite {
        name: "end to end: browsers",
        run: || counted(cmd("node").arg("tests/browser/run.mjs")),
    },
];

/// Runs every suite up to the first that fails, then says how each went.
pub(crate) fn test(mut args: Vec<String>) -> Result<()> {
    let yes = sh::take_flag(&mut args, "--yes");
    let only = sh::take_value(&mut args, "--suite")?;
    sh::no_more(&args)?;
    need::ensure(Purpose::Test, yes)?;

    let mut rows = Vec::new();
    let mut total = Count::default();
    let mut failure = None;
    for suite in SUITES {
        if only.as_ref().is_some_and(|text| !suite.name.contains(text)) {
            continue;
        }
        eprintln!("\n==> {}", suite.name);
        let started = Instant::now();
        let result = (suite.run)().and_then(Count::checked);
        let took = started.elapsed();
        let count = match &result {
            Ok(count) => *count,
            Err(error) => error
                .downcast_ref::<Failed>()
                .map_or(Count::FAILED, |failed| failed.0),
        };
        total.passed += count.passed;
        total.failed += count.failed;
        rows.push((suite.name, took, count));
        if let Err(error) = result {
            failure = Some((suite.name, error));
            break;
        }
    }
    if rows.is_empty() {
        bail!(
            "no suite matches {only:?}; there are: {}",
            SUITES
                .iter()
                .map(|suite| suite.name)
                .collect::<Vec<_>>()
                .join("; ")
        );
    }
    summary(&rows, failure.as_ref().map(|(name, _)| *name));
    if let Some((name, error)) = &failure {
        println!("failed: {name}: {error:#}");
    }
    println!("{} passed, {} failed", total.passed, total.failed);
    match failure {
        Some((name, _)) => bail!("suite failed: {name}"),
        None => Ok(()),
    }
}

/// `cargo xtask test-package`: the packed npm package in projects of Vite, webpack and Next.js too.
pub(crate) fn package(mut args: Vec<String>) -> Result<()> {
    need::ensure(Purpose::Test, sh::take_flag(&mut args, "--yes"))?;
    wasm::build()?;
    wasm::sizes()?;
    sh::run(cmd("node").arg("tests/package/run.mjs").args(&args))
}

fn summary(rows: &[(&str, Duration, Count)], failed: Option<&str>) {
    println!(
        "\n{:<46} {:>12} {:>7} {:>7}",
        "suite", "time", "passed", "failed"
    );
    for (name, took, count) in rows {
        println!(
            "{name:<46} {:>12} {:>7} {:>7}",
            sh::seconds(*took),
            count.passed,
            count.failed
        );
    }
    if failed.is_some() {
        for suite in SUITES
            .iter()
            .skip_while(|suite| Some(suite.name) != failed)
            .skip(1)
        {
            println!("{:<46} {:>12}", suite.name, "not run");
        }
    }
}

/// A suite's program failed after running these tests.
#[derive(Debug)]
struct Failed(Count, String);

impl std::fmt::Display for Failed {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(&self.1)
    }
}

impl std::error::Error for Failed {}

impl Count {
    const FAILED: Self = Self {
        passed: 0,
        failed: 1,
    };

    /// A suite without a single test has not shown anything.
    fn checked(self) -> Result<Self> {
        if self.passed == 0 {
            bail!("no test ran");
        }
        Ok(self)
    }

    /// Adds what a test runner's closing line says, if this is one.
    fn read(&mut self, line: &str) {
        let number_before = |word: &str| {
            let at = line.find(word)?;
            line[..at]
                .trim_end()
                .rsplit(|c: char| !c.is_ascii_digit())
                .next()?
                .parse()
                .ok()
        };
        let number_after = |word: &str| line.trim().strip_prefix(word)?.trim().parse::<u64>().ok();
        if line.starts_with("test result:")
            || (line.contains(" passed, ") && starts_with_digit(line))
        {
            self.passed += number_before(" passed").unwrap_or(0);
            self.failed += number_before(" failed").unwrap_or(0);
        } else if let Some(passed) =
            number_after("# pass").or_else(|| number_after("\u{2139} pass"))
        {
            self.passed += passed;
        } else if let Some(failed) =
            number_after("# fail").or_else(|| number_after("\u{2139} fail"))
        {
            self.failed += failed;
        }
    }
}

fn starts_with_digit(line: &str) -> bool {
    line.trim_start().starts_with(|c: char| c.is_ascii_digit())
}

/// Runs a test runner, showing its output and counting from its closing lines.
fn counted(command: &mut Command) -> Result<Count> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start `{}`", shown(command)))?;
    let mut count = Count::default();
    let stdout = child.stdout.take().context("the output was not piped")?;
    for line in BufReader::new(stdout).split(b'\n') {
        let line = line?;
        let line = String::from_utf8_lossy(&line);
        println!("{line}");
        count.read(&line);
    }
    let status = child.wait()?;
    if status.success() && count.failed == 0 {
        return Ok(count);
    }
    count.failed = count.failed.max(1);
    Err(Failed(count, format!("`{}` failed ({status})", shown(command))).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closing_lines_of_every_runner_are_counted() {
        let read = |line: &str| {
            let mut count = Count::default();
            count.read(line);
            (count.passed, count.failed)
        };
        assert_eq!(
            read("test result: FAILED. 12 passed; 3 failed; 0 ignored; 0 measured"),
            (12, 3)
        );
        assert_eq!(read("# pass 7"), (7, 0));
        assert_eq!(read("\u{2139} fail 2"), (0, 2));
        assert_eq!(read("41 passed, 1 failed in 60 s; chromium 156"), (41, 1));
        assert_eq!(read("# tests 9"), (0, 0));
        assert_eq!(read("the 3 passed, we think"), (0, 0));
    }
}
