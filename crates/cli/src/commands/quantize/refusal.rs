//! Models that are made, but not written unless forced.

use lowbit::quantize::QuantizeReport;

/// Below this agreement the model's detections are gone, and it is not written unless asked.
const GONE: f64 = 0.05;

/// Why a model is not written unless forced.
pub(super) fn refusal(report: &QuantizeReport) -> Option<String> {
    let points = |x: f64| format!("{:.2} points", 100.0 * x);
    if let Some((search, reason)) = report.search.as_ref().and_then(|s| Some((s, s.reason.as_ref()?))) {
        return Some(format!(
            "no model that loses {} of {} or less was found: {reason}; the best one, {} at {:.2} bits a weight, loses {}",
            points(search.most),
            search.measure.name(),
            report.settings.grid,
            report.size.bits_per_weight,
            points(search.drop)
        ));
    }
    if let Some(agreement) = report.agreement.filter(|&agreement| agreement < GONE) {
        return Some(format!(
            "the detections are gone: they agree with the float model's by {agreement:.4} on the calibration pictures; take more bits or another \
             grid (--list), wider ones for some layers (--tensor-type), or train it"
        ));
    }
    let spent = report.spent.filter(|s| !s.is_kept())?;
    Some(format!(
        "the model keeps not to its budget: it takes {} instead of {}, though its layers one by one take {}; ask for less",
        spent.unit.show(spent.measured),
        spent.unit.show(spent.limit),
        spent.unit.show(spent.predicted)
    ))
}
