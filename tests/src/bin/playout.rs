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

use std::io::BufWriter;

fn main() -> anyhow::Result<()> {
    tests::playout::cli::main(
        std::env::args().skip(1),
        &mut BufWriter::new(std::io::stdout().lock()),
    )
}
