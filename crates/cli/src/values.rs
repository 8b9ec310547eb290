//! Values of flags that clap does not know: sizes, times, dimensions.

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

/// A number of threads; 0 is all cores.
pub(crate) fn threads(text: &str) -> Result<usize, String> {
    let most = lowbit::MOST_THREADS;
    let number = text.parse().ok().filter(|&n: &usize| n <= most);
    number.ok_or_else(|| format!("expected a number of threads, at most {most}; 0 takes all cores"))
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
pub(crate) fn share(text: &str) -> Result<f32, String> {
    match text.parse() {
        Ok(x) if (0.0..=1.0).contains(&x) => Ok(x),
        _ => Err("expected a number in 0…1".into()),
    }
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
}
