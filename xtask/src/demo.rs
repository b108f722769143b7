//! `cargo xtask demo`: from a fresh machine to music in the browser.

use crate::need::{self, Purpose};
use crate::sh::{self, cargo, cmd, run, step, target};
use crate::wasm;
use anyhow::{Context, Result, bail};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;

const DEFAULT_PORT: u16 = 8000;

/// Installs, builds and serves. Comes back only with an error: the relay takes this process over.
pub(crate) fn demo(mut args: Vec<String>) -> Result<()> {
    let no_build = sh::take_flag(&mut args, "--no-build");
    let yes = sh::take_flag(&mut args, "--yes");
    let port = match sh::take_value(&mut args, "--port")? {
        Some(text) => text
            .parse::<u16>()
            .with_context(|| format!("--port {text:?} is not a port number (1 to 65535)"))?,
        None => DEFAULT_PORT,
    };
    sh::no_more(&args)?;

    // Now, not after minutes of building.
    check_port(port)?;
    let relay = relay_binary();
    if no_build {
        if !relay.is_file() || !wasm::is_built() {
            bail!("--no-build, but nothing is built yet: run `cargo xtask demo` once without it");
        }
    } else {
        need::ensure(Purpose::Build, yes)?;
        wasm::build()?;
        step("Compiling the relay", build_relay)?;
    }
    check_port(port)?;
    serve(&relay, port)
}

/// Builds the relay as [`relay_binary`] expects it.
pub(crate) fn build_relay() -> Result<()> {
    run(cargo().args(["build", "--release", "-p", "relay-server"]))
}

/// The built relay.
pub(crate) fn relay_binary() -> PathBuf {
    let name = format!("relay-server{}", std::env::consts::EXE_SUFFIX);
    target().join("release").join(name)
}

fn check_port(port: u16) -> Result<()> {
    if port == 0 {
        bail!("--port 0 is no port to open in a browser: give one from 1 to 65535");
    }
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    match TcpListener::bind(address) {
        Ok(_) => Ok(()),
        Err(error) => bail!(
            "cannot listen on {address} ({error}): stop what uses the port, or choose another \
             one with `cargo xtask demo --port {}`",
            if port == DEFAULT_PORT {
                8001
            } else {
                DEFAULT_PORT
            }
        ),
    }
}

fn serve(relay: &std::path::Path, port: u16) -> Result<()> {
    eprintln!("\n==> Seamcast plays at http://127.0.0.1:{port} (Ctrl-C stops it)\n");
    let mut command = cmd(relay);
    command
        .args(["serve", "--demo", "--web-dir", "web/dist", "--listen"])
        .arg(format!("127.0.0.1:{port}"));
    // The relay takes our place, so that Ctrl-C and signals reach it and nothing stands between.
    #[cfg(unix)]
    {
        use std::os::unix::process::CommandExt;
        let error = command.exec();
        Err(error).with_context(|| format!("cannot start {}", relay.display()))
    }
    #[cfg(not(unix))]
    run(&mut command)
}
