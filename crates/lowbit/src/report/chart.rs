//! Curves and histograms as SVG: no program runs in the page. Ink is the page's own, so that light and dark both read.

use std::fmt::Write as _;

use super::page::escape;

// Small, so that letters grow in a wide column and stay readable in a narrow one.
const WIDTH: f64 = 440.0;
const HEIGHT: f64 = 210.0;
const LEFT: f64 = 58.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 34.0;
const BOTTOM: f64 = 26.0;

/// Colours that stand out on white and on black, also for those who see few colours.
const COLORS: [&str; 6] = ["#3b82d6", "#d9772b", "#2f9e77", "#c2559d", "#8a7a1f", "#7b68c8"];

/// Bins of a histogram of weights.
const BINS: usize = 97;

/// A curve: name and points, x ascending.
pub type Curve = (String, Vec<(f64, f64)>);

/// Curves over a common x axis, which counts steps.
///
/// ```
/// let svg = lowbit::report::chart::curves("loss", &[("box".into(), vec![(0.0, 2.0), (10.0, 1.0)])]);
/// assert!(svg.starts_with("<svg") && svg.contains("polyline"));
/// ```
pub fn curves(title: &str, all: &[Curve]) -> String {
    let points = || all.iter().flat_map(|c| c.1.iter()).filter(|p| p.1.is_finite());
    let range = |of: &dyn Fn(&(f64, f64)) -> f64| {
        points().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), p| {
            (low.min(of(p)), high.max(of(p)))
        })
    };
    let (x0, x1) = widened(range(&|p| p.0));
    let (mut y0, y1) = widened(range(&|p| p.1));
    // What is small and positive is read from zero.
    if y0 > 0.0 && y0 < 0.6 * y1 {
        y0 = 0.0;
    }
    let x = |v: f64| LEFT + (v - x0) / (x1 - x0) * (WIDTH - LEFT - RIGHT);
    let y = |v: f64| HEIGHT - BOTTOM - (v - y0) / (y1 - y0) * (HEIGHT - TOP - BOTTOM);
    let mut svg = open(title, HEIGHT);
    for v in ticks(y0, y1) {
        let (at, right) = (y(v), WIDTH - RIGHT);
        let _ = write!(
            svg,
            "<path d=\"M{LEFT} {at:.1}H{right}\" stroke=\"currentColor\" opacity=\".15\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            LEFT - 6.0,
            at + 4.0,
            number(v)
        );
    }
    for v in ticks(x0, x1) {
        let _ = write!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            x(v),
            HEIGHT - 7.0,
            number(v)
        );
    }
    let mut label = LEFT + 9.0 * title.len() as f64 + 24.0;
    for (k, (name, points)) in all.iter().enumerate() {
        let color = COLORS[k % COLORS.len()];
        let place = |p: &(f64, f64)| format!("{:.1},{:.1}", x(p.0), y(p.1));
        let line: Vec<String> = points.iter().filter(|p| p.1.is_finite()).map(place).collect();
        let _ = write!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{color}\" stroke-width=\"2\" stroke-linejoin=\"round\"/>",
            line.join(" ")
        );
        if points.len() <= 30 {
            for p in points.iter().filter(|p| p.1.is_finite()) {
                let _ = write!(
                    svg,
                    "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"3\" fill=\"{color}\"/>",
                    x(p.0),
                    y(p.1)
                );
            }
        }
        if all.len() > 1 {
            let _ = write!(
                svg,
                "<rect x=\"{label:.1}\" y=\"9\" width=\"12\" height=\"12\" rx=\"2\" fill=\"{color}\"/>\
                 <text x=\"{:.1}\" y=\"20\">{}</text>",
                label + 17.0,
                escape(name)
            );
            label += 40.0 + 7.5 * name.len() as f64;
        }
    }
    svg.push_str("</svg>\n");
    svg
}

/// A histogram with the levels of a grid over it; heights are square roots of counts, so that sparse tails show.
pub fn histogram(title: &str, counts: &[u64], range: (f64, f64), levels: &[f64]) -> String {
    const HEIGHT: f64 = 180.0;
    let (low, high) = range;
    let most = counts.iter().copied().max().unwrap_or(0).max(1) as f64;
    let x = |v: f64| 8.0 + (v - low) / (high - low) * (WIDTH - 16.0);
    let base = HEIGHT - 22.0;
    let mut svg = open(title, HEIGHT);
    for &level in levels.iter().filter(|&&l| (low..=high).contains(&l)) {
        let _ = write!(
            svg,
            "<path d=\"M{:.1} 30V{base}\" stroke=\"{}\" stroke-dasharray=\"4 3\"/>",
            x(level),
            COLORS[1]
        );
    }
    let mut path = format!("M8 {base}");
    for (k, &count) in counts.iter().enumerate() {
        let left = 8.0 + (WIDTH - 16.0) * k as f64 / counts.len() as f64;
        let right = 8.0 + (WIDTH - 16.0) * (k + 1) as f64 / counts.len() as f64;
        let top = base - (count as f64 / most).sqrt() * (base - 34.0);
        let _ = write!(path, "L{left:.1} {top:.1}H{right:.1}");
    }
    let _ = write!(
        svg,
        "<path d=\"{path}V{base}Z\" fill=\"{}\" fill-opacity=\".75\"/>\
         <path d=\"M8 {base}H{}\" stroke=\"currentColor\" opacity=\".4\"/>",
        COLORS[0],
        WIDTH - 8.0
    );
    for (v, anchor) in [(low, "start"), (0.0, "middle"), (high, "end")] {
        if (low..=high).contains(&v) {
            let _ = write!(
                svg,
                "<text x=\"{:.1}\" y=\"{}\" text-anchor=\"{anchor}\">{}</text>",
                x(v),
                HEIGHT - 6.0,
                number(v)
            );
        }
    }
    svg.push_str("</svg>\n");
    svg
}

/// Weights in units of their scales over the levels of their grid.
pub(crate) fn weights(name: &str, annotation: &graph::WeightAnnotation, shadow: &[f32]) -> String {
    let point = &annotation.points[0];
    let scale = |i: usize| match point.scales.len() {
        1 => point.scales[0],
        _ => point.scales[annotation.channel(i)],
    };
    let mut levels: Vec<f64> = (0..annotation.points.len().min(1))
        .flat_map(|p| annotation.integer_levels(p))
        .map(f64::from)
        .collect();
    levels.sort_by(f64::total_cmp);
    levels.dedup();
    let top = levels.iter().fold(1f64, |top, l| top.max(l.abs())) * 1.3;
    let mut counts = vec![0u64; BINS];
    for (i, &w) in shadow.iter().enumerate() {
        let at = (f64::from(w) / f64::from(scale(i)) / top).clamp(-1.0, 1.0);
        counts[((at + 1.0) / 2.0 * (BINS - 1) as f64).round() as usize] += 1;
    }
    let title = format!("{name} ({})", annotation.grid);
    // Too many lines hide the histogram.
    if levels.len() > 40 {
        levels.clear();
    }
    histogram(&title, &counts, (-top, top), &levels)
}

fn open(title: &str, height: f64) -> String {
    let title = escape(title);
    format!(
        "<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{title}\" font-size=\"13\" fill=\"currentColor\">\
         <text x=\"8\" y=\"20\" font-size=\"15\" font-weight=\"600\">{title}</text>"
    )
}

/// A range that is no point.
fn widened((low, high): (f64, f64)) -> (f64, f64) {
    match (low.is_finite() && high.is_finite(), high > low) {
        (false, _) => (0.0, 1.0),
        (true, true) => (low, high),
        (true, false) if low == 0.0 => (0.0, 1.0),
        (true, false) => (low - 0.5 * low.abs().max(1e-9), high + 0.5 * high.abs().max(1e-9)),
    }
}

/// Three to six round numbers within a range.
fn ticks(low: f64, high: f64) -> Vec<f64> {
    let raw = (high - low) / 4.0;
    let unit = 10f64.powf(raw.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0]
        .map(|m| m * unit)
        .into_iter()
        .find(|s| *s >= raw * 0.999)
        .unwrap_or(raw);
    let first = (low / step).ceil() as i64;
    (first..first + 12)
        .map(|k| k as f64 * step)
        .take_while(|v| *v <= high + 1e-9 * step)
        .collect()
}

/// Short, and no longer than it must be.
fn number(v: f64) -> String {
    match v.abs() {
        0.0 => "0".into(),
        a if !(1e-3..1e5).contains(&a) => format!("{v:.1e}"),
        _ => {
            let text = format!("{v:.4}");
            text.trim_end_matches('0').trim_end_matches('.').to_string()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_within() {
        assert_eq!(ticks(0.0, 10.0), [0.0, 5.0, 10.0]);
        assert_eq!(ticks(0.0, 625.0), [0.0, 200.0, 400.0, 600.0]);
        for (low, high) in [(0.123, 0.456), (-3.0, 17.0), (1e-6, 3e-6), (5.0, 5e6)] {
            let all = ticks(low, high);
            assert!((2..=7).contains(&all.len()), "{all:?}");
            assert!(all.iter().all(|t| (low..=high * 1.0001).contains(t)), "{all:?}");
        }
    }

    #[test]
    fn numbers_that_are_none_and_empty_curves_draw_an_empty_chart() {
        for curve in [vec![], vec![(0.0, f64::NAN)], vec![(3.0, 7.0)]] {
            let svg = curves("x<", &[("a".into(), curve)]);
            assert!(!svg.contains("NaN") && !svg.contains("inf") && svg.contains("x&lt;"));
        }
        assert!(!histogram("h", &[0, 0], (-1.0, 1.0), &[0.0]).contains("NaN"));
    }

    #[test]
    fn a_curve_that_is_all_zero_has_an_axis_from_zero_to_one() {
        let svg = curves("score", &[("a".into(), vec![(0.0, 0.0), (5.0, 0.0)])]);
        assert!(svg.contains(">0.5</text>") && svg.contains(">1</text>"), "{svg}");
        assert!(!svg.contains("e-10"), "{svg}");
    }

    #[test]
    fn numbers_are_short() {
        let all = [0.0, 0.25, 1.0, 12_000.0, 2e-5, 0.1 + 0.2].map(number);
        assert_eq!(all, ["0", "0.25", "1", "12000", "2.0e-5", "0.3"]);
    }
}
