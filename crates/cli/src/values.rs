//! Values of flags that clap does not know: sizes, times, dimensions.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

/// `512MiB`, `2GiB`, `1000000`, `64k`.
pub(crate) fn bytes(text: &str) -> Result<usize, String> {
    let (number, unit) = split(text);
    let unit: u64 = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        _ => return Err("expected a size such as 512MiB or 2GiB".into()),
    };
    let number: u64 = number
        .parse()
        .map_err(|_| "expected a size such as 512MiB or 2GiB".to_string())?;
    let total = number.checked_mul(unit).and_then(|n| usize::try_from(n).ok());
    total
        .filter(|n| *n > 0)
        .ok_or_else(|| "the size must be above 0 and fit this machine".into())
}

/// A whole number of this range; a refusal says the range and an example.
pub(crate) fn whole<T>(
    range: RangeInclusive<T>,
    example: T,
) -> impl Fn(&str) -> Result<T, String> + Clone + Send + Sync
where
    T: FromStr + Display + PartialOrd + Clone + Send + Sync + 'static,
{
    move |text| {
        let number = text.trim().parse().ok().filter(|n| range.contains(n));
        number.ok_or_else(|| {
            let (from, to) = range.clone().into_inner();
            format!("expected a whole number in {from}…{to}, such as {example}")
        })
    }
}

/// A whole number from `from` on.
pub(crate) fn count(
    from: usize,
    example: usize,
) -> impl Fn(&str) -> Result<usize, String> + Clone + Send + Sync {
    move |text| {
        let number = text.trim().parse().ok().filter(|n| *n >= from);
        number.ok_or_else(|| format!("expected a whole number from {from} on, such as {example}"))
    }
}

/// A number of threads; 0 is all cores.
pub(crate) fn threads(text: &str) -> Result<usize, String> {
    let most = lowbit::MOST_THREADS;
    let number = text.parse().ok().filter(|&n: &usize| n <= most);
    number.ok_or_else(|| format!("expected a number of threads in 0…{most}, such as 4; 0 takes all cores"))
}

/// `90`, `90s`, `10m`, `2h`, `500ms`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = split(text);
    let factor = match unit {
        "ms" => 1e-3,
        "" | "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        _ => return Err("expected a time such as 90s or 10m".into()),
    };
    let seconds: f64 = number
        .parse()
        .map_err(|_| "expected a time such as 90s or 10m".to_string())?;
    Duration::try_from_secs_f64(seconds * factor).map_err(|e| e.to_string())
}

fn split(text: &str) -> (&str, &str) {
    let text = text.trim();
    let at = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    (&text[..at], text[at..].trim())
}

/// `N=1`, `images:0=4`.
pub(crate) fn dimension(text: &str) -> Result<(String, usize), String> {
    let wrong = || "expected NAME=SIZE with a size above 0, such as N=1 or images:0=1".to_string();
    let (name, size) = text.rsplit_once('=').ok_or_else(wrong)?;
    match size.trim().parse() {
        Ok(size) if size > 0 && !name.is_empty() => Ok((name.to_string(), size)),
        _ => Err(wrong()),
    }
}

/// A number in 0…1.
pub(crate) fn share<T: FromStr + Copy + Into<f64>>(text: &str) -> Result<T, String> {
    let number = text.trim().parse().ok();
    let number = number.filter(|&x: &T| (0.0..=1.0).contains(&x.into()));
    number.ok_or_else(|| "expected a number in 0…1, such as 0.25".into())
}

/// 0 … 100, with or without its sign.
pub(crate) fn percent(text: &str) -> Result<f64, String> {
    let number = text.trim().trim_end_matches('%').parse().ok();
    let number = number.filter(|x: &f64| (0.0..=100.0).contains(x));
    number.ok_or_else(|| "expected a number in 0…100, such as 15 or 15%".into())
}

/// `20` or `20dB`.
pub(crate) fn decibels(text: &str) -> Result<f64, String> {
    let number = text.trim().trim_end_matches("dB").trim_end().parse().ok();
    let number = number.filter(|x: &f64| (0.0..=100.0).contains(x));
    number.ok_or_else(|| "expected a number of dB in 0…100, such as 20".into())
}

/// A number above 0.
pub(crate) fn positive(text: &str) -> Result<f64, String> {
    let number = text.trim().parse().ok();
    let number = number.filter(|x: &f64| *x > 0.0 && x.is_finite());
    number.ok_or_else(|| "expected a number above 0, such as 0.75".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_times_and_dimensions() {
        assert_eq!(bytes("2GiB"), Ok(2 << 30));
        assert_eq!(bytes("10 MB"), Ok(10_000_000));
        assert!(bytes("0").is_err() && bytes("5 tons").is_err() && bytes("99999999999999999999").is_err());
        assert!(bytes("18446744073709551615g").is_err());
        assert_eq!(duration("1.5m"), Ok(Duration::from_secs(90)));
        assert!(duration("-1").is_err() && duration("1 year").is_err());
        assert_eq!(dimension("images:0=4"), Ok(("images:0".into(), 4)));
        assert!(dimension("N=0").is_err() && dimension("N").is_err() && dimension("=3").is_err());
    }

    #[test]
    fn numbers_outside_a_range_are_answered_with_it() {
        let bits = whole(1..=8, 4);
        assert_eq!(bits("8"), Ok(8));
        for text in ["x", "9", "0", "-1", "4.5", "", "99999999999999999999"] {
            assert_eq!(
                bits(text).unwrap_err(),
                "expected a whole number in 1…8, such as 4"
            );
        }
        assert_eq!(count(1, 100)("7"), Ok(7));
        assert!(count(1, 100)("0").unwrap_err().contains("from 1 on, such as 100"));
        // A gate at NaN would never say no.
        for text in ["nan", "-0.1", "1.1", "inf", "half"] {
            assert!(
                share::<f64>(text).is_err() && share::<f32>(text).is_err(),
                "{text}"
            );
        }
        assert!(positive("nan").is_err() && positive("0").is_err() && positive("inf").is_err());
        assert_eq!((share(" 0.5"), positive("2")), (Ok(0.5f32), Ok(2.0)));
    }
}
