//! The command line of `playout`.

use super::model::{Event, Trace, run};
use anyhow::{Context, Result, bail};
use seamcast_player::prebuffer::{Latency, Mode, Prebuffer};
use std::io::Write;

/// How the command line is used.
pub const USAGE: &str = "playout [--mode live|complete|tts|file] [--latency MS] [--no-stretch] (--trace FILE.csv | --traces FILE)";

/// How a stream is played.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// May anything be dropped?
    pub mode: Mode,
    /// Most time-stretch.
    pub stretch: f64,
    /// Latency bounds.
    pub latency: Latency,
}

impl Options {
    /// What the player does for `live`, `complete`, `tts` or `file`; nothing known of the content is as `complete`.
    ///
    /// Time-stretch is on for live and speech, off for files, which may be music.
    pub fn for_mode(mode: Option<&str>) -> Result<Self> {
        let (mode, stretch) = match mode {
            Some("live") => (Mode::Live, 0.05),
            None | Some("complete" | "tts") => (Mode::Complete, 0.05),
            Some("file") => (Mode::Complete, 0.0),
            Some(other) => bail!("--mode {other:?} is none of live, complete, tts, file"),
        };
        Ok(Self {
            mode,
            stretch,
            latency: Latency::AUTO,
        })
    }

    /// A fresh core.
    pub fn core(&self) -> Prebuffer {
        let mut core = Prebuffer::new(self.mode, self.latency);
        core.set_stretch(self.stretch);
        core
    }
}

/// Runs the command line; decisions go to `out`.
pub fn main(args: impl IntoIterator<Item = String>, out: &mut impl Write) -> Result<()> {
    let (mut mode, mut latency, mut stretch_allowed, mut input) = (None, Latency::AUTO, true, None);
    let mut args = args.into_iter();
    while let Some(arg) = args.next() {
        let mut value = || {
            args.next()
                .with_context(|| format!("{arg} needs a value; usage: {USAGE}"))
        };
        match arg.as_str() {
            "--mode" => mode = Some(value()?),
            "--latency" => {
                latency = Latency::fixed(
                    value()?
                        .parse()
                        .context("--latency is not a number of ms")?,
                )
            }
            "--no-stretch" => stretch_allowed = false,
            "--trace" => input = Some((value()?, false)),
            "--traces" => input = Some((value()?, true)),
            "--help" | "-h" => return Ok(writeln!(out, "{USAGE}")?),
            other => bail!("unknown argument {other:?}; usage: {USAGE}"),
        }
    }
    let mut options = Options {
        latency,
        ..Options::for_mode(mode.as_deref())?
    };
    if !stretch_allowed {
        options.stretch = 0.0;
    }
    let Some((path, many)) = input else {
        bail!("--trace or --traces is missing; usage: {USAGE}")
    };
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path:?}"))?;
    let traces = if many {
        Trace::parse_many(&text)?
    } else {
        vec![Trace::parse(&path, &text)?]
    };
    for trace in &traces {
        decisions(trace, &options, many, out)?;
    }
    out.flush().context("cannot write a decision")
}

/// Writes each decision as a JSON line as it falls.
fn decisions(trace: &Trace, options: &Options, named: bool, out: &mut impl Write) -> Result<()> {
    let name = if named {
        format!(",\"trace\":{}", serde_json::to_string(&trace.name)?)
    } else {
        String::new()
    };
    let mut failed = None;
    run(&mut options.core(), trace, &mut |t, event| {
        let what = match event {
            Event::Start => "\"start\"".to_owned(),
            Event::Stall => "\"stall\"".to_owned(),
            Event::Skip(to) => format!("\"skip\",\"media_ms\":{to:.6}"),
            Event::Rate(rate) => format!("\"rate\",\"rate\":{rate:.9}"),
        };
        if let Err(error) = writeln!(out, "{{\"t_ms\":{t:.6},\"event\":{what}{name}}}") {
            failed.get_or_insert(error);
        }
    });
    failed.map_or(Ok(()), |error| {
        Err(error).context("cannot write a decision")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(text: &str, mode: &str) -> String {
        let file =
            std::env::temp_dir().join(format!("playout-cli-{}-{mode}.txt", std::process::id()));
        std::fs::write(&file, text).expect("writes");
        let mut out = Vec::new();
        let args = ["--mode", mode, "--traces", file.to_str().expect("utf-8")].map(str::to_owned);
        let done = main(args, &mut out);
        std::fs::remove_file(&file).expect("removes");
        done.expect("runs");
        String::from_utf8(out).expect("utf-8")
    }

    #[test]
    fn decisions_are_json_lines_with_the_trace_name() {
        // Ended before the second chunk is needed: starts at the end of stream.
        let text = "# trace a\n600,0,20\n601,20,20\n602,40,0\n# trace b\n100,0,20\n100,20,0\n";
        let lines = printed(text, "tts");
        assert_eq!(
            lines,
            "{\"t_ms\":602.000000,\"event\":\"start\",\"trace\":\"a\"}\n{\"t_ms\":100.000000,\"event\":\"start\",\"trace\":\"b\"}\n"
        );
    }

    #[test]
    fn mistakes_name_the_remedy() {
        let fail = |args: &[&str]| {
            format!(
                "{:#}",
                main(args.iter().map(|a| (*a).to_owned()), &mut Vec::new()).expect_err("fails")
            )
        };
        assert!(fail(&[]).contains("usage: playout"));
        assert!(fail(&["--mode", "fast", "--trace", "x"]).contains("live, complete, tts, file"));
        assert!(fail(&["--trace", "/nonexistent.csv"]).contains("/nonexistent.csv"));
    }
}
