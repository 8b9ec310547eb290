//! "Did you mean": the known name that a mistyped one is near to.

/// The candidate at the smallest edit distance (Damerau-Levenshtein, without regard to case), unless more than a third of the letters differ:
/// then it would not be what was meant. The last part of a dotted name stands for the whole.
///
/// ```
/// use quant::names::nearest;
/// assert_eq!(nearest("lbv4", ["int4", "lbw4"]), Some("lbw4"));
/// assert_eq!(nearest("INT4", ["int4", "lbw4"]), Some("int4"));
/// assert_eq!(nearest("rate", ["optimizer.rate", "steps"]), Some("optimizer.rate"));
/// assert_eq!(nearest("fp16", ["int4", "lbw4"]), None);
/// ```
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let name = name.to_lowercase();
    let letters = name.chars().count();
    let most = letters.max(3) / 3;
    // By distance, the whole before its last part; between int2 and int8, int9 is nearer to int8.
    let rank = |form: &str, is_part: bool| {
        // Names come from files: what differs in length by more is not compared at all.
        if form.chars().count().abs_diff(letters) > most {
            return None;
        }
        let form = form.to_lowercase();
        let distance = strsim::damerau_levenshtein(&name, &form);
        let differ = name.chars().zip(form.chars()).find(|(a, b)| a != b);
        let step = differ.map_or(0, |(a, b)| u32::from(a).abs_diff(u32::from(b)));
        (distance <= most).then_some((distance, is_part, step))
    };
    let ranked = candidates.into_iter().filter_map(|candidate| {
        let part = candidate.rsplit_once('.').and_then(|(_, part)| rank(part, true));
        let best = rank(candidate, false).into_iter().chain(part).min()?;
        Some((best, candidate))
    });
    ranked
        .min_by_key(|&(rank, _)| rank)
        .map(|(_, candidate)| candidate)
}

/// The end of a sentence about a name that does not exist: `; did you mean "lbw4"?`, or nothing.
pub fn did_you_mean(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |name| format!("; did you mean \"{name}\"?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn far_fetched_names_are_not_suggested() {
        let grids = ["binary", "ternary", "int2", "int8", "lbw4", "lbw5-i8", "pow2-4"];
        for far in ["qqqqqqqqqqq", "fp16", "w4a8", "", "x", &"lbw4".repeat(1 << 18)] {
            assert_eq!(
                nearest(far, grids),
                None,
                "{}",
                far.chars().take(20).collect::<String>()
            );
        }
        for (near, want) in [
            ("lbw9", "lbw4"),
            ("int9", "int8"),
            ("tenary", "ternary"),
            ("pow24", "pow2-4"),
            ("intt8", "int8"),
        ] {
            assert_eq!(nearest(near, grids), Some(want), "{near}");
        }
        assert_eq!(nearest("model", ["model", "zoo.model"]), Some("model"));
        assert_eq!(did_you_mean(None), "");
    }
}
