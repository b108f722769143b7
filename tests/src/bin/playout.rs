//! Runs the player's prebuffer core on arrival traces and prints its decisions as they fall.
//!
//! ```text
//! playout [--mode live|complete|tts|file] [--latency MS] [--no-stretch] (--trace FILE.csv | --traces FILE)
//! ```
//!
//! A trace is rows of `arrival_ms,media_start_ms,media_dur_ms`, the last with
//! duration 0 (end of stream known); time 0 is the request. `--traces` takes many,
//! each after a line `# trace NAME`. Output is JSON lines
//! `{"t_ms":…,"event":"start"|"stall"|"skip"|"rate", "media_ms":…, "rate":…}`, with
//! `"trace":"NAME"` for `--traces`.
//!
//! `live` may skip and comes back to its latency; `complete` and `tts` never drop
//! anything and stretch where speech would starve; `file` is the same without
//! time-stretch, as for music. Without `--mode` nothing is known of the content: as `complete`.

use anyhow::{Context, Result, bail};
use seamcast_player::prebuffer::{Latency, Mode, Prebuffer};
use std::io::Write;
use tests::playout::model::{Event, Trace, run};

struct Options {
    mode: Mode,
    stretch: f64,
    latency: Latency,
}

fn main() -> Result<()> {
    let mut options = Options {
        mode: Mode::Complete,
        stretch: 0.05,
        latency: Latency::AUTO,
    };
    let mut stretch_allowed = true;
    let mut input = None;
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut value = || args.next().with_context(|| format!("{arg} needs a value"));
        match arg.as_str() {
            "--mode" => {
                (options.mode, options.stretch) = match value()?.as_str() {
                    "live" => (Mode::Live, 0.05),
                    "complete" | "tts" => (Mode::Complete, 0.05),
                    "file" => (Mode::Complete, 0.0),
                    other => bail!("--mode {other:?} is none of live, complete, tts, file"),
                }
            }
            "--latency" => {
                let ms: f64 = value()?
                    .parse()
                    .context("--latency is not a number of ms")?;
                options.latency = Latency::fixed(ms);
            }
            "--no-stretch" => stretch_allowed = false,
            "--trace" => input = Some((value()?, false)),
            "--traces" => input = Some((value()?, true)),
            other => {
                bail!("unknown argument {other:?}; see the head of this file's source for usage")
            }
        }
    }
    if !stretch_allowed {
        options.stretch = 0.0;
    }
    let Some((path, many)) = input else {
        bail!("--trace FILE.csv or --traces FILE is missing")
    };
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path:?}"))?;
    let traces = if many {
        Trace::parse_many(&text)?
    } else {
        vec![Trace::parse(&path, &text)?]
    };
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    for trace in &traces {
        decisions(trace, &options, many, &mut out)?;
    }
    out.flush()?;
    Ok(())
}

fn decisions(trace: &Trace, options: &Options, named: bool, out: &mut impl Write) -> Result<()> {
    let mut core = Prebuffer::new(options.mode, options.latency);
    core.set_stretch(options.stretch);
    let name = if named {
        format!(",\"trace\":{}", serde_json::to_string(&trace.name)?)
    } else {
        String::new()
    };
    let mut failed = None;
    run(&mut core, trace, &mut |t, event| {
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
