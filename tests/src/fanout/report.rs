//! What was measured, as a table, as JSON and as a plot.

use std::fmt::Write as _;

use serde::Serialize;

/// One server with one number of listeners.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Row {
    /// The server.
    pub server: String,
    /// Listeners wanted.
    pub listeners: usize,
    /// Listeners that got audio.
    pub heard: usize,
    /// Listeners that were cut off or refused.
    pub lost: usize,
    /// CPU in the program, µs per listener and second.
    pub user_us: f64,
    /// CPU in the kernel, µs per listener and second.
    pub system_us: f64,
    /// CPU per message, µs; for byte streams per read of the load generator.
    pub message_us: f64,
    /// Messages per listener and second.
    pub messages: f64,
    /// Resident memory per listener, KB.
    pub rss_kb: f64,
    /// Kernel memory of TCP sockets per listener, both ends, KB.
    pub tcp_kb: f64,
    /// Resident memory after all have left, relative to before.
    pub rss_after: f64,
    /// From sending a frame to its arrival, ms: median.
    pub p50: f64,
    /// 99 %.
    pub p99: f64,
    /// 99.9 %.
    pub p999: f64,
    /// Frames delivered of those sent.
    pub delivered: f64,
    /// Listeners joined per second, until all had audio.
    pub joins_per_sec: f64,
    /// From connecting to the first audio, 99 %, ms.
    pub first_audio_p99: f64,
    /// CPU of the load generator during the measurement, share of a core.
    pub generator: f64,
    /// Load average of the machine at the end.
    pub load_average: f64,
}

impl Row {
    /// CPU per listener and second, µs.
    #[must_use]
    pub fn cpu_us(&self) -> f64 {
        self.user_us + self.system_us
    }
}

/// A Markdown table.
#[must_use]
pub fn table(rows: &[Row]) -> String {
    let mut out = String::from(
        "| server | listeners | CPU µs per listener·s | user % | µs per message | RSS KB | kernel TCP KB | RSS after | p50 ms | p99 ms | p99.9 ms | delivered | lost | joins/s | first audio p99 ms | generator CPU |\n\
         |---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n",
    );
    for row in rows {
        let _ = writeln!(
            out,
            "| {} | {} | {:.1} | {:.0} | {:.2} | {:.2} | {:.1} | {:.2} | {:.0} | {:.0} | {:.0} | {:.4} | {} | {:.0} | {:.0} | {:.2} |",
            row.server,
            row.listeners,
            row.cpu_us(),
            100.0 * row.user_us / row.cpu_us().max(f64::MIN_POSITIVE),
            row.message_us,
            row.rss_kb,
            row.tcp_kb,
            row.rss_after,
            row.p50,
            row.p99,
            row.p999,
            row.delivered,
            row.lost,
            row.joins_per_sec,
            row.first_audio_p99,
            row.generator,
        );
    }
    out
}

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 320.0;
const MARGIN: f64 = 56.0;

/// CPU per listener over the number of listeners.
#[must_use]
pub fn growth(rows: &[Row]) -> String {
    let most = rows.iter().map(|row| row.listeners).max().unwrap_or(1) as f64;
    let top = rows.iter().map(Row::cpu_us).fold(1.0, f64::max) * 1.2;
    let x = |n: f64| MARGIN + n / most * (WIDTH - 2.0 * MARGIN);
    let y = |us: f64| HEIGHT - MARGIN - us / top * (HEIGHT - 2.0 * MARGIN);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#fff\"/>\n\
         <text x=\"{MARGIN}\" y=\"24\" font-size=\"14\">CPU per listener over listeners (µs per second of listening)</text>\n"
    );
    for step in 0..=4 {
        let us = top * f64::from(step) / 4.0;
        let _ = writeln!(
            out,
            "<line x1=\"{MARGIN}\" x2=\"{:.1}\" y1=\"{2:.1}\" y2=\"{2:.1}\" stroke=\"#ddd\"/>\
             <text x=\"{3:.1}\" y=\"{4:.1}\" text-anchor=\"end\">{1:.0}</text>",
            WIDTH - MARGIN,
            us,
            y(us),
            MARGIN - 6.0,
            y(us) + 4.0
        );
    }
    let mut names: Vec<&str> = rows.iter().map(|row| row.server.as_str()).collect();
    names.dedup();
    for (index, name) in names.iter().enumerate() {
        let colour = ["#1463c8", "#c84b14", "#3a8a2d", "#7d3ac1"][index % 4];
        let of = || rows.iter().filter(|row| row.server == *name);
        let points: Vec<String> = of()
            .map(|row| format!("{:.1},{:.1}", x(row.listeners as f64), y(row.cpu_us())))
            .collect();
        let _ = writeln!(
            out,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
            points.join(" ")
        );
        for row in of() {
            let (x, y) = (x(row.listeners as f64), y(row.cpu_us()));
            let _ = writeln!(
                out,
                "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{colour}\"/>\
                 <text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                HEIGHT - MARGIN + 18.0,
                row.listeners
            );
        }
        let _ = writeln!(
            out,
            "<text x=\"{:.1}\" y=\"{:.1}\" fill=\"{colour}\" text-anchor=\"end\">{name}</text>",
            WIDTH - MARGIN,
            44.0 + 16.0 * index as f64
        );
    }
    out.push_str("</svg>\n");
    out
}
