//! What a budget counts, and how much of it there is.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::Serialize;

use crate::{Error, Result, text};

/// What all layers together may take.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Budget {
    /// Stored bits a weight, scales included, over all weighted layers, those that stay float at 32.
    AverageBits(f64),
    /// Bytes of the written file.
    FileBytes(usize),
    /// Bit operations of all convolutions and matrix products.
    BitOps(BitOps),
    /// Time of one picture on this CPU, with the threads of the options. What it asks for depends on the machine; so does the model.
    Time(Duration),
}

/// Bit operations: multiply-accumulates × bits of a weight (× its points) × bits of an activation; 32 × 32 where a layer stays float (the measure of
/// "bit operations" in Baskin et al., UNIQ, arXiv 1804.10969, without their term for the sums).
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum BitOps {
    /// This share of what the model takes with every product at 8 × 8 bits.
    Share(f64),
    /// So many a picture.
    Absolute(f64),
}

impl FromStr for BitOps {
    type Err = String;

    /// `50%`, or a number with or without k, M, G, T.
    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let wrong = || {
            "expected a share of the int8 model's bit operations such as 60%, or a number such as 2.5G"
                .to_string()
        };
        let text = text.trim();
        let number = |text: &str| -> std::result::Result<f64, String> {
            let number: Option<f64> = text.trim().parse().ok();
            number.filter(|x| *x > 0.0 && x.is_finite()).ok_or_else(wrong)
        };
        if let Some(share) = text.strip_suffix('%') {
            return Ok(BitOps::Share(number(share)? / 100.0));
        }
        let unit = [('k', 1e3), ('M', 1e6), ('G', 1e9), ('T', 1e12)];
        let with = unit
            .iter()
            .find_map(|(c, factor)| Some((text.strip_suffix(*c)?, *factor)));
        let (text, factor) = with.unwrap_or((text, 1.0));
        Ok(BitOps::Absolute(number(text)? * factor))
    }
}

impl Budget {
    /// The flag of `quantize` that asks for it, and its value.
    pub fn flag(&self) -> (&'static str, String) {
        match self {
            Budget::AverageBits(bits) => ("average-bits", bits.to_string()),
            Budget::FileBytes(bytes) => ("budget-size", bytes.to_string()),
            Budget::BitOps(BitOps::Share(share)) => ("budget-bitops", format!("{}%", 100.0 * share)),
            Budget::BitOps(BitOps::Absolute(count)) => ("budget-bitops", count.to_string()),
            Budget::Time(time) => ("budget-time", format!("{}ms", milliseconds(time))),
        }
    }

    /// A budget of the same kind, of so many of its [`Unit`]; bits a weight with three digits.
    pub(super) fn of(&self, amount: f64) -> Budget {
        match self {
            Budget::AverageBits(_) => Budget::AverageBits((1e3 * amount).floor() / 1e3),
            Budget::FileBytes(_) => Budget::FileBytes(amount as usize),
            Budget::BitOps(_) => Budget::BitOps(BitOps::Absolute(amount.round())),
            Budget::Time(_) => Budget::Time(Duration::from_secs_f64(1e-3 * amount)),
        }
    }

    pub(super) fn unit(&self) -> Unit {
        match self {
            Budget::AverageBits(_) => Unit::BitsAWeight,
            Budget::FileBytes(_) => Unit::Bytes,
            Budget::BitOps(_) => Unit::BitOps,
            Budget::Time(_) => Unit::Milliseconds,
        }
    }
}

impl fmt::Display for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Budget::AverageBits(bits) => write!(f, "{bits} bits a weight"),
            Budget::FileBytes(bytes) => write!(f, "a file of {}", text::bytes(*bytes)),
            Budget::BitOps(BitOps::Share(share)) => write!(f, "{} % of int8's bit operations", 100.0 * share),
            Budget::BitOps(BitOps::Absolute(count)) => {
                write!(f, "{} bit operations", text::count(*count as u64))
            }
            Budget::Time(time) => write!(f, "{} ms a picture", milliseconds(time)),
        }
    }
}

/// The number that is written shortest.
fn milliseconds(time: &Duration) -> f64 {
    time.as_nanos() as f64 / 1e6
}

/// What the numbers of a [`Spent`] are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unit {
    /// Stored bits a weight.
    BitsAWeight,
    /// Of the file.
    Bytes,
    /// Of a picture.
    BitOps,
    /// Of a picture.
    Milliseconds,
}

impl Unit {
    /// A number of it, for people.
    pub fn show(self, x: f64) -> String {
        match self {
            Unit::BitsAWeight => format!("{x:.3} bits a weight"),
            Unit::Bytes => text::bytes(x as usize),
            Unit::BitOps => format!("{} bit operations", text::count(x as u64)),
            Unit::Milliseconds => format!("{x:.3} ms"),
        }
    }
}

/// What became of a budget.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Spent {
    /// What is counted.
    pub unit: Unit,
    /// What there was.
    pub limit: f64,
    /// The least that any choice of grids takes, predicted.
    pub least: f64,
    /// What the choice takes before its weights are fitted: of bytes, those of the whole file; else the sum over its layers.
    pub predicted: f64,
    /// What the whole model takes.
    pub measured: f64,
    /// No choice of grids within the budget has less error in the sum over the layers; else the least that one could have is `error − gap`.
    pub gap: f64,
    /// Choices that were made: after one that was over the budget, measured, the next was made with that much less.
    pub rounds: usize,
}

impl Spent {
    /// Whether the whole model keeps to the budget.
    pub fn is_kept(&self) -> bool {
        self.measured <= self.limit
    }
}

/// The refusal of a budget that nothing fits.
pub(super) fn too_small(budget: &Budget, least: f64) -> Error {
    Error::usage(format!(
        "no choice of grids keeps to {budget}; the least is {}",
        budget.unit().show(least)
    ))
    .help("ask for more, give --among narrower grids, or --keep fewer roles")
}

pub(super) fn check(budget: &Budget) -> Result<()> {
    let positive = match budget {
        Budget::AverageBits(x) | Budget::BitOps(BitOps::Share(x) | BitOps::Absolute(x)) => {
            *x > 0.0 && x.is_finite()
        }
        Budget::FileBytes(bytes) => *bytes > 0,
        Budget::Time(time) => !time.is_zero(),
    };
    match positive {
        true => Ok(()),
        false => Err(Error::usage("a budget is a number above 0")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bit_operations_are_a_share_or_a_number() {
        assert_eq!("60%".parse(), Ok(BitOps::Share(0.6)));
        assert_eq!(" 2.5G".parse(), Ok(BitOps::Absolute(2.5e9)));
        assert_eq!("1000".parse(), Ok(BitOps::Absolute(1000.0)));
        for wrong in ["", "-1", "0%", "nan", "2.5 GiB", "G", "inf"] {
            assert!(wrong.parse::<BitOps>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_a_budget_says_names_its_flag() {
        let of = |b: Budget| (b.to_string(), b.flag());
        assert_eq!(
            of(Budget::AverageBits(4.5)),
            ("4.5 bits a weight".into(), ("average-bits", "4.5".into()))
        );
        assert_eq!(
            of(Budget::Time(Duration::from_micros(3500))),
            ("3.5 ms a picture".into(), ("budget-time", "3.5ms".into()))
        );
    }
}
