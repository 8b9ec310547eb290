//! The overlap of two masks, D = 2·|P∩G| / (|P| + |G|) (Dice, Ecology 26, 1945), counted.

/// Voxels of one class in a mask, in the truth, and in both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Overlap {
    /// |P|
    pub predicted: u64,
    /// |G|
    pub truth: u64,
    /// |P∩G|
    pub both: u64,
}

impl Overlap {
    /// D; 1 where neither mask has the class.
    ///
    /// ```
    /// use tasks::segment::Overlap;
    /// assert_eq!(Overlap { predicted: 3, truth: 5, both: 2 }.dice(), 0.5);
    /// assert_eq!(Overlap::default().dice(), 1.0);
    /// ```
    pub fn dice(&self) -> f64 {
        match self.predicted + self.truth {
            0 => 1.0,
            sum => 2.0 * self.both as f64 / sum as f64,
        }
    }
}

/// Overlap of each class of one case; labels at or above `classes` are of none.
pub fn dice(predicted: &[u8], truth: &[u8], classes: usize) -> Vec<Overlap> {
    let mut all = vec![Overlap::default(); classes];
    for (&p, &g) in predicted.iter().zip(truth) {
        if let Some(of) = all.get_mut(usize::from(p)) {
            of.predicted += 1;
            of.both += u64::from(p == g);
        }
        if let Some(of) = all.get_mut(usize::from(g)) {
            of.truth += 1;
        }
    }
    all
}

/// Dice of each class but the background, the mean over the cases.
pub fn mean_dice(cases: &[Vec<Overlap>]) -> Vec<f64> {
    let classes = cases.first().map_or(0, Vec::len);
    let mean = |class: usize| cases.iter().map(|c| c[class].dice()).sum::<f64>() / cases.len() as f64;
    (1..classes).map(mean).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_counted_apart_and_cases_weigh_the_same() {
        let one = dice(&[0, 1, 1, 2, 7], &[0, 1, 2, 2, 2], 3);
        let counts = |o: &Overlap| (o.predicted, o.truth, o.both);
        assert_eq!(
            one.iter().map(counts).collect::<Vec<_>>(),
            [(1, 1, 1), (2, 1, 1), (1, 3, 1)]
        );
        let other = dice(&[1], &[1], 3);
        assert_eq!(
            mean_dice(&[one, other]),
            [(2.0 / 3.0 + 1.0) / 2.0, (0.5 + 1.0) / 2.0]
        );
        assert!(mean_dice(&[]).is_empty());
    }
}
