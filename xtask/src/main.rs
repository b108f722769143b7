//! Every chore of the project: `cargo xtask help` lists them.

mod demo;
mod need;
mod sh;
mod stamp;
mod wasm;

use anyhow::{Result, bail};
use std::process::ExitCode;

const HELP: &str = "\
cargo xtask COMMAND

  demo [--port N] [--no-build] [--yes]
          installs what is missing, builds everything, serves the page with live music
  wasm    builds the player: wasm modules, npm package, page; prints and holds the sizes
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
