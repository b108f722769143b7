//! Every chore of the project: `cargo xtask help` lists them.

mod bench;
mod check;
mod demo;
mod dist;
mod fuzz;
mod layering;
mod need;
mod sh;
mod stamp;
mod test;
mod wasm;

use anyhow::{Result, bail};
use std::process::ExitCode;

const HELP: &str = "\
cargo xtask COMMAND

  demo [--port N] [--no-build] [--yes]
          installs what is missing, builds everything, serves the page with live music
  test [--yes] [--suite TEXT]
          installs what the tests need, browsers too, and runs every suite
  test-package [--case TEXT] [--list] [--yes]
          packs the npm package and plays it in projects of Vite, webpack and Next.js,
          whose tools it fetches; what needs no such tool is part of `test`
  check [--yes]
          format, clippy (host and wasm32), documentation, types, layering, and with
          cargo-deny, where it is installed, licences and sources of dependencies
  bench [NAME] [ARGS]
          benchmarks with their peers, as a table and as JSON; --list names them
  fuzz [SECONDS] [--target NAME]
          the parsers of containers, RTP, sources, messages and request heads under libFuzzer
  wasm    the player alone: wasm modules, npm package, page, and their sizes
  dist    a release in dist/: the relay with the page inside, the npm package

--yes installs without asking; so does a run without a terminal.
";

fn main() -> ExitCode {
    match dispatch(std::env::args().skip(1).collect()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nerror: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(mut args: Vec<String>) -> Result<()> {
    if args.is_empty() {
        print!("{HELP}");
        return Ok(());
    }
    let command = args.remove(0);
    match command.as_str() {
        "demo" => demo::demo(args),
        "test" => test::test(args),
        "test-package" => test::package(args),
        "check" => check::check(args),
        "bench" => bench::bench(args),
        "fuzz" => fuzz::fuzz(args),
        "dist" => dist::dist(args),
        "wasm" => {
            need::ensure(need::Purpose::Build, sh::take_flag(&mut args, "--yes"))?;
            sh::no_more(&args)?;
            wasm::build()?;
            wasm::sizes()
        }
        "help" | "--help" | "-h" => {
            print!("{HELP}");
            Ok(())
        }
        other => bail!("unknown command {other:?}; see `cargo xtask help`"),
    }
}
