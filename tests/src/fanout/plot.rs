//! The growth, as a plot.

use std::fmt::Write as _;

use super::report::Row;

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
