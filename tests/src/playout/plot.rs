//! One SVG per group: each trace's optimum, our start, and what fell silent.

use std::fmt::Write as _;

/// One trace's outcome, ms.
#[derive(Clone, Copy, Debug)]
pub struct Point {
    /// The clairvoyant start delay.
    pub oracle: f64,
    /// Our start delay.
    pub delay: f64,
    /// Our silence inside the programme.
    pub silence: f64,
    /// The peer's silence (1 s, again after an underrun).
    pub peer_silence: f64,
}

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 56.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 46.0;
const BOTTOM: f64 = 26.0;

/// Position of `ms` on an axis that is linear near 0 and logarithmic beyond 10 ms.
fn scale(ms: f64, top: f64) -> f64 {
    let f = |v: f64| (1.0 + v.max(0.0) / 10.0).log10();
    HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * f(ms) / f(top)
}

/// Draws the group; traces are sorted by their optimum.
pub fn group(title: &str, points: &[Point]) -> String {
    let mut points = points.to_vec();
    points.sort_by(|a, b| a.oracle.total_cmp(&b.oracle));
    let most = points
        .iter()
        .flat_map(|p| [p.oracle, p.delay, p.silence, p.peer_silence])
        .fold(100.0, f64::max)
        * 1.2;
    let step = (WIDTH - LEFT - RIGHT) / points.len().max(1) as f64;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" font-size=\"11\">\n\
         <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#fff\"/>\n<text x=\"{LEFT}\" y=\"16\" font-size=\"13\">{title}</text>\n"
    );
    let legend = [
        ("#888", "optimum (start delay)"),
        ("#06c", "our start delay"),
        ("#c22", "our silence"),
        ("#e9b", "silence of 1 s + re-buffer"),
    ];
    for (k, (colour, text)) in legend.into_iter().enumerate() {
        let x = LEFT + k as f64 * 140.0;
        let _ = writeln!(
            svg,
            "<rect x=\"{x}\" y=\"24\" width=\"9\" height=\"9\" fill=\"{colour}\"/><text x=\"{}\" y=\"33\">{text}</text>",
            x + 13.0
        );
    }
    for ms in [
        0.0, 10.0, 30.0, 100.0, 300.0, 1_000.0, 3_000.0, 10_000.0, 30_000.0,
    ] {
        if ms <= most {
            let y = scale(ms, most);
            let _ = writeln!(
                svg,
                "<path d=\"M{LEFT} {y:.1}H{}\" stroke=\"#ddd\"/><text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{ms} ms</text>",
                WIDTH - RIGHT,
                LEFT - 4.0,
                y + 4.0
            );
        }
    }
    let floor = scale(0.0, most);
    let bar = |svg: &mut String, x: f64, width: f64, ms: f64, colour: &str| {
        if ms > 0.0 {
            let y = scale(ms, most);
            let _ = writeln!(
                svg,
                "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{:.1}\" fill=\"{colour}\"/>",
                floor - y
            );
        }
    };
    for (k, p) in points.iter().enumerate() {
        let x = LEFT + k as f64 * step;
        bar(
            &mut svg,
            x + 0.55 * step,
            0.17 * step,
            p.peer_silence,
            "#e9b",
        );
        bar(&mut svg, x + 0.74 * step, 0.17 * step, p.silence, "#c22");
        let middle = x + 0.3 * step;
        let (oracle, delay) = (scale(p.oracle, most), scale(p.delay, most));
        let _ = writeln!(
            svg,
            "<path d=\"M{middle:.1} {oracle:.1}V{delay:.1}\" stroke=\"#bcd\"/>\
             <circle cx=\"{middle:.1}\" cy=\"{oracle:.1}\" r=\"3.5\" fill=\"#fff\" stroke=\"#888\" stroke-width=\"1.5\"/>\
             <circle cx=\"{middle:.1}\" cy=\"{delay:.1}\" r=\"3\" fill=\"#06c\"/>"
        );
    }
    let _ = writeln!(
        svg,
        "<text x=\"{LEFT}\" y=\"{}\">{} traces, sorted by optimum</text>\n</svg>",
        HEIGHT - 8.0,
        points.len()
    );
    svg
}
