//! The relay binary.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use relay_server::config::{self, Config, Secret};
use relay_server::restart::{Successor, passed};
use relay_server::server::{self, Leaving, Listeners, Relay};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

/// Relays live audio from sources to listeners.
#[derive(Debug, Parser)]
#[command(name = "relay-server", version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the relay.
    Serve(Box<Serve>),
    /// Send files, paced in real time, standard input or packets to a relay.
    Publish {
        /// A file, folder or playlist; - for standard input; or
        /// `rtp://ADDRESS:PORT?KEY=VALUE`, `udp://…` with the keys of `[[input]]`.
        input: String,
        /// http://source:PASSWORD@HOST:PORT/mount; without a password there, SEAMCAST_SOURCE_PASSWORD
        /// is taken.
        url: String,
    },
    /// Say every mistake of a configuration file, with line and key.
    CheckConfig {
        /// The file.
        file: PathBuf,
    },
    /// Make the time index of recordings again.
    Reindex {
        /// Recordings (`.opus`, `.mp3`).
        #[arg(required = true)]
        recordings: Vec<PathBuf>,
    },
}

/// Flags win over `SEAMCAST_…` variables, and those over the file.
#[derive(Debug, clap::Args)]
struct Serve {
    /// Configuration file (TOML).
    #[arg(long, value_name = "FILE", env = "SEAMCAST_CONFIG")]
    config: Option<PathBuf>,
    /// Print the effective configuration with comments, and stop.
    #[arg(long)]
    print_config: bool,
    #[command(flatten)]
    keys: Keys,
}

/// A flag for every key of the configuration but secrets, by its variable.
#[derive(Clone, Debug, Default)]
struct Keys(Vec<(String, String)>);

impl clap::Args for Keys {
    fn augment_args(command: clap::Command) -> clap::Command {
        config::flags().into_iter().fold(command, |command, key| {
            let Some(flag) = key.flag else {
                return command;
            };
            let help = match &key.usual {
                Some(usual) => format!("{} [default: {usual}]", key.help),
                None => key.help.to_owned(),
            };
            let mut arg = clap::Arg::new(key.variable).long(flag).help(help);
            arg = arg.value_name("VALUE");
            if key.switch {
                arg = arg.num_args(0..=1).default_missing_value("true");
            }
            if key.default {
                arg = arg.help_heading("What mounts have unless they say otherwise");
            }
            command.arg(arg)
        })
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        Self::augment_args(command)
    }
}

impl clap::FromArgMatches for Keys {
    fn from_arg_matches(matches: &clap::ArgMatches) -> Result<Self, clap::Error> {
        let given = |variable: &str| matches.get_one::<String>(variable).cloned();
        let flags = config::flags().into_iter().filter(|key| key.flag.is_some());
        let all = flags.filter_map(|key| Some((given(&key.variable)?, key.variable)));
        Ok(Self(all.map(|(text, name)| (name, text)).collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &clap::ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Serve(serve) => {
            relay_server::fanout::plain_heap();
            relay_server::fanout::share_heap();
            run(&serve)
        }
        Command::Publish { input, url } => publish(&input, &url),
        Command::CheckConfig { file } => check(&file),
        Command::Reindex { recordings } => reindex(&recordings),
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn publish(input: &str, url: &str) -> anyhow::Result<ExitCode> {
    let to = url.parse().map_err(anyhow::Error::msg)?;
    let password = std::env::var("SEAMCAST_SOURCE_PASSWORD").ok();
    relay_server::publish::publish(input, &to, password.as_deref()).map_err(anyhow::Error::msg)?;
    Ok(ExitCode::SUCCESS)
}

fn read(file: &std::path::Path) -> anyhow::Result<String> {
    std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
}

fn check(file: &std::path::Path) -> anyhow::Result<ExitCode> {
    let mut config = Config::default();
    match config::parse(&read(file)?, &mut config) {
        Ok(()) => {
            if let Err(why) = relay_server::tls::acceptor(&config) {
                eprintln!("{}: {why}", file.display());
                return Ok(ExitCode::FAILURE);
            }
            println!("{}: no mistakes", file.display());
            Ok(ExitCode::SUCCESS)
        }
        Err(mistakes) => {
            for mistake in &mistakes {
                eprintln!("{}: {mistake}", file.display());
            }
            Ok(ExitCode::FAILURE)
        }
    }
}

fn reindex(recordings: &[PathBuf]) -> anyhow::Result<ExitCode> {
    for recording in recordings {
        let entries = relay_server::record::index::rebuild_file(recording)
            .with_context(|| format!("cannot index {}", recording.display()))?;
        println!("{}: {entries} entries", recording.display());
    }
    Ok(ExitCode::SUCCESS)
}

/// File, then environment, then flags.
fn effective(serve: &Serve) -> anyhow::Result<Config> {
    let mut config = Config {
        config_file: serve.config.clone(),
        ..Config::default()
    };
    let flag = |key: &config::Flag| {
        let found = serve
            .keys
            .0
            .iter()
            .find(|(name, _)| *name == key.variable)?;
        Some((format!("--{}", key.flag.as_ref()?), found.1.clone()))
    };
    let variable = |key: &config::Flag| {
        let text = std::env::var(&key.variable).ok();
        let text = text.filter(|text| !text.is_empty())?;
        Some((key.variable.clone(), text))
    };
    let lookup = |key: &config::Flag| flag(key).or_else(|| variable(key));
    let text = serve.config.as_deref().map(read).transpose()?;
    if let Err(mistakes) =
        config::parse_over(text.as_deref().unwrap_or_default(), &mut config, &lookup)
    {
        // Of variables and flags, when it is not a line of the file.
        let in_file = |mistake: &config::Mistake| match &serve.config {
            Some(file) if mistake.line > 0 => format!("{}: {mistake}", file.display()),
            _ => mistake.to_string(),
        };
        let lines: Vec<String> = mistakes.iter().map(in_file).collect();
        anyhow::bail!(lines.join("\n  "));
    }
    config
        .apply(&lookup)
        .map_err(|mistakes| anyhow::anyhow!(mistakes.join("\n  ")))?;
    Ok(config)
}

fn random_secret() -> Secret {
    let word: u128 = rand::random();
    Secret::new(format!("{word:032x}"))
}

fn run(serve: &Serve) -> anyhow::Result<ExitCode> {
    let mut config = effective(serve)?;
    if serve.print_config {
        print!("{}", config::print(&config));
        return Ok(ExitCode::SUCCESS);
    }
    start_log(config.log_json);
    // Printed, not logged: the terminal is the operator's, a log may not be.
    // A successor must have them, too.
    let mut secrets = Vec::new();
    if config.source_password.is_empty() {
        config.source_password = random_secret();
        let secret = config.source_password.reveal();
        println!("source password: {secret}");
        secrets.push(("SEAMCAST_SOURCE_PASSWORD", secret.to_owned()));
    }
    if config.admin_token.is_empty() {
        config.admin_token = random_secret();
        let secret = config.admin_token.reveal();
        println!("admin token: {secret}");
        secrets.push(("SEAMCAST_ADMIN_TOKEN", secret.to_owned()));
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let outcome = runtime.block_on(serve_until_signal(serve, config, secrets));
    // A read of standard input cannot be called off; waiting for its thread
    // would last until the other end says something.
    runtime.shutdown_background();
    outcome?;
    Ok(ExitCode::SUCCESS)
}

async fn serve_until_signal(
    serve: &Serve,
    config: Config,
    secrets: Vec<(&'static str, String)>,
) -> anyhow::Result<()> {
    let listen = config.listen;
    let listeners = match passed().context("cannot use the socket on standard input")? {
        Some(passed) => Listeners {
            http: TcpListener::from_std(passed.http)?,
            shoutcast: passed.shoutcast.map(TcpListener::from_std).transpose()?,
        },
        None => server::bind(listen)
            .with_context(|| format!("cannot listen on {listen}; choose another with --listen"))?
            .into(),
    };
    let http = &listeners.http;
    let address = http.local_addr()?;
    let successor = Successor::of_this(http, secrets).context("cannot find this program")?;
    let (password, token) = (config.source_password.clone(), config.admin_token.clone());
    let tls = config.tls_certificate.is_some();
    let relay = Relay::new(config).context("cannot start the relay")?;
    println!("listening on http://{address}");
    if tls {
        println!("and on https://{address}");
    }
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let mut restart = signal(SignalKind::user_defined2())?;
    let reload = relay.clone();
    let shutdown = async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
                _ = restart.recv() => match may_restart(serve, &successor) {
                    Ok(()) => {
                        tracing::info!("handing over");
                        return Leaving::HandOver(successor);
                    }
                    Err(error) => tracing::error!("not restarted: {error:#}"),
                },
                _ = hangup.recv() => match effective(serve) {
                    Ok(mut config) => {
                        // Random ones stay as they were printed.
                        if config.source_password.is_empty() {
                            config.source_password = password.clone();
                        }
                        if config.admin_token.is_empty() {
                            config.admin_token = token.clone();
                        }
                        match reload.reconfigure(config) {
                            Ok(()) => tracing::info!("configuration read again"),
                            Err(why) => tracing::error!("configuration kept as it was: {why}"),
                        }
                    }
                    Err(error) => tracing::error!("configuration kept as it was: {error:#}"),
                },
            }
        }
        tracing::info!("draining");
        Leaving::Stop
    };
    server::serve(relay, listeners, shutdown).await?;
    Ok(())
}

/// A successor that would end at once is not tried.
fn may_restart(serve: &Serve, successor: &Successor) -> anyhow::Result<()> {
    let config = effective(serve)?;
    relay_server::tls::acceptor(&config).map_err(anyhow::Error::msg)?;
    successor.check()?;
    Ok(())
}

fn start_log(json: bool) {
    let filter = tracing_subscriber::EnvFilter::try_from_env("SEAMCAST_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .with_writer(std::io::stderr);
    if json {
        log.json().init();
    } else {
        log.init();
    }
}
