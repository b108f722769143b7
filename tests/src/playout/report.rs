//! Outcomes per group, as a table and as JSON.

use super::model::Outcome;
use serde_json::{Value, json};

/// No trace counts for more than this in a mean cost.
const COST_CAP: f64 = 60_000.0;

/// What a group of traces came to; medians and means over the traces.
#[derive(Clone, Copy, Debug)]
pub struct Summary {
    /// Traces.
    pub traces: usize,
    /// Median start delay, ms.
    pub delay: f64,
    /// Median start delay over the optimum, ms.
    pub over: f64,
    /// Share of traces without underrun or skip, per cent.
    pub gapless: f64,
    /// Mean silence inside the programme, ms.
    pub silence: f64,
    /// Mean number of underruns.
    pub underruns: f64,
    /// Mean time played stretched, s.
    pub stretched: f64,
    /// Media dropped, ms.
    pub dropped: f64,
    /// Mean cost.
    pub cost: f64,
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => 0.0,
        n if n % 2 == 1 => values[n / 2],
        n => (values[n / 2 - 1] + values[n / 2]) / 2.0,
    }
}

impl Summary {
    /// Sums up.
    pub fn of(outcomes: &[Outcome]) -> Self {
        let n = outcomes.len().max(1) as f64;
        let mean = |f: &dyn Fn(&Outcome) -> f64| outcomes.iter().map(f).sum::<f64>() / n;
        Self {
            traces: outcomes.len(),
            delay: median(outcomes.iter().map(|o| o.start_delay).collect()),
            over: median(outcomes.iter().map(|o| o.over).collect()),
            gapless: 100.0 * mean(&|o| f64::from(o.underruns + o.skips == 0)),
            silence: mean(&|o| o.silence),
            underruns: mean(&|o| f64::from(o.underruns)),
            stretched: mean(&|o| o.stretched / 1_000.0),
            dropped: outcomes.iter().map(|o| o.dropped).sum(),
            cost: mean(&|o| o.cost().min(COST_CAP)),
        }
    }

    /// For the results file.
    pub fn json(&self) -> Value {
        json!({
            "traces": self.traces, "start_delay_ms": self.delay, "over_optimum_ms": self.over, "gapless_percent": self.gapless,
            "silence_ms": self.silence, "underruns": self.underruns, "stretched_s": self.stretched, "dropped_ms": self.dropped, "cost": self.cost,
        })
    }
}

/// One row: a group, our outcome, and others' for comparison.
#[derive(Clone, Debug)]
pub struct Row {
    /// Group.
    pub group: String,
    /// Ours.
    pub ours: Summary,
    /// Others, in the order of the table's head.
    pub others: Vec<Summary>,
}

/// A Markdown table; of the others only gapless share and cost.
pub fn table(others: &[&str], rows: &[Row]) -> String {
    let mut text = "| group | traces | start delay ms | over optimum ms | gapless | silence ms | underruns | stretched s | cost |".to_owned();
    for name in others {
        text += &format!(" {name}: gapless, cost |");
    }
    text += &format!("\n|---|{}\n", "---:|".repeat(8 + others.len()));
    for row in rows {
        let s = &row.ours;
        text += &format!(
            "| {} | {} | {:.0} | {:+.0} | {:.0} % | {:.0} | {:.2} | {:.1} | {:.0} |",
            row.group,
            s.traces,
            s.delay,
            s.over,
            s.gapless,
            s.silence,
            s.underruns,
            s.stretched,
            s.cost
        );
        for o in &row.others {
            text += &format!(" {:.0} %, {:.0} |", o.gapless, o.cost);
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summaries_are_medians_and_means() {
        let one = |start_delay: f64, underruns: u32| Outcome {
            start_delay,
            over: start_delay,
            underruns,
            ..Outcome::default()
        };
        let s = Summary::of(&[one(100.0, 0), one(300.0, 1), one(1_000.0, 0), one(20.0, 0)]);
        assert_eq!((s.delay, s.gapless, s.underruns), (200.0, 75.0, 0.25));
        // (100 + 300 + 500 + 1000 + 20) / 4.
        assert_eq!(s.cost, 480.0);
    }
}
