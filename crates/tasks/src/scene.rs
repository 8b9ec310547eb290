//! Classes of the pixels of hyperspectral scenes: what a network's input and output mean, and accuracy by the habits of the field.

use serde::{Deserialize, Serialize};

/// Metadata key of the description in a model file.
pub const METADATA_KEY: &str = "lowbit.scene";

/// What the tensors of a network mean that classifies the centre pixel of a small patch: input `[N, 1, B, P, P]` of standardized bands, output
/// `[N, classes]` of logits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SceneHead {
    /// Name of the input.
    pub input: String,
    /// Name of the logits.
    pub output: String,
    /// Name of each class; label c + 1 of a ground truth is class c.
    pub classes: Vec<String>,
    /// Mean of each band over the training pixels.
    pub mean: Vec<f32>,
    /// Deviation of each band over the training pixels, above 0.
    pub deviation: Vec<f32>,
}

impl SceneHead {
    /// Reads the description.
    ///
    /// # Errors
    /// A sentence: JSON that is none, keys that are not known, numbers out of range.
    pub fn from_json(text: &str) -> Result<SceneHead, String> {
        let head: SceneHead = serde_json::from_str(text).map_err(|e| e.to_string())?;
        let (bands, deviations) = (head.mean.len(), head.deviation.len());
        if !(2..=255).contains(&head.classes.len()) {
            return Err(format!(
                "it has {} classes; 2 to 255 are possible",
                head.classes.len()
            ));
        }
        if bands == 0 || bands != deviations {
            return Err(format!(
                "it has {bands} means and {deviations} deviations of bands"
            ));
        }
        let fine = |x: &f32| x.is_finite();
        if !head.mean.iter().all(fine) || !head.deviation.iter().all(|d| fine(d) && *d > 0.0) {
            return Err("a mean or a deviation is out of range".into());
        }
        Ok(head)
    }

    /// The description as JSON.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("plain data")
    }
}

/// Index of the largest logit of each row, the first of equal ones.
pub fn arg_max(logits: &[f32], classes: usize) -> Vec<usize> {
    let best = |row: &[f32]| {
        (0..row.len())
            .rev()
            .max_by(|&a, &b| row[a].total_cmp(&row[b]))
            .unwrap_or(0)
    };
    logits.chunks_exact(classes.max(1)).map(best).collect()
}

/// How often pixels of each class were called each class.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Confusion {
    /// Rows are the truth, columns what was said.
    pub counts: Vec<Vec<u64>>,
}

impl Confusion {
    /// Nothing counted.
    pub fn new(classes: usize) -> Confusion {
        Confusion {
            counts: vec![vec![0; classes]; classes],
        }
    }

    /// Counts a pixel.
    ///
    /// # Panics
    /// When either is no class.
    pub fn add(&mut self, truth: usize, said: usize) {
        self.counts[truth][said] += 1;
    }

    /// Pixels counted.
    pub fn total(&self) -> u64 {
        self.counts.iter().flatten().sum()
    }

    fn right(&self) -> u64 {
        self.counts.iter().enumerate().map(|(c, row)| row[c]).sum()
    }

    /// OA, the share of right pixels.
    ///
    /// ```
    /// let mut confusion = tasks::scene::Confusion::new(2);
    /// [(0, 0), (0, 0), (1, 0), (1, 1)].map(|(truth, said)| confusion.add(truth, said));
    /// assert_eq!((confusion.overall(), confusion.kappa()), (0.75, 0.5));
    /// ```
    pub fn overall(&self) -> f64 {
        self.right() as f64 / self.total().max(1) as f64
    }

    /// Share of right pixels of each class; `None` where there is none of it.
    pub fn by_class(&self) -> Vec<Option<f64>> {
        let share = |(c, row): (usize, &Vec<u64>)| {
            let all: u64 = row.iter().sum();
            (all > 0).then(|| row[c] as f64 / all as f64)
        };
        self.counts.iter().enumerate().map(share).collect()
    }

    /// AA, the mean of [`by_class`](Confusion::by_class) over the classes that have pixels.
    pub fn average(&self) -> f64 {
        let shares: Vec<f64> = self.by_class().into_iter().flatten().collect();
        shares.iter().sum::<f64>() / shares.len().max(1) as f64
    }

    /// κ = (OA − p)/(1 − p), p = Σ row·column/n² (Cohen, 1960).
    pub fn kappa(&self) -> f64 {
        let n = self.total().max(1) as f64;
        let column = |c: usize| self.counts.iter().map(|row| row[c]).sum::<u64>() as f64;
        let row = |c: usize| self.counts[c].iter().sum::<u64>() as f64;
        let chance: f64 = (0..self.counts.len()).map(|c| row(c) * column(c) / n / n).sum();
        match chance < 1.0 {
            true => (self.overall() - chance) / (1.0 - chance),
            false => 1.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accuracies_are_the_published_ones() {
        let vectors: serde_json::Value = serde_json::from_str(testing::SNN_VECTORS).unwrap();
        let case = &vectors["metrics"];
        let counts = serde_json::from_value(case["confusion_rows_true"].clone()).unwrap();
        let confusion = Confusion { counts };
        let want = |key: &str| case[key].as_f64().unwrap();
        assert!((confusion.overall() - want("oa")).abs() < 1e-12);
        assert!((confusion.average() - want("aa")).abs() < 1e-12);
        assert!((confusion.kappa() - want("kappa")).abs() < 1e-12);
    }

    #[test]
    fn a_class_without_pixels_is_left_out_of_the_average() {
        let mut confusion = Confusion::new(3);
        confusion.add(0, 0);
        confusion.add(2, 0);
        assert_eq!(confusion.by_class(), [Some(1.0), None, Some(0.0)]);
        assert_eq!(confusion.average(), 0.5);
        assert_eq!(Confusion::new(2).overall(), 0.0);
    }

    #[test]
    fn the_first_of_equal_logits_wins() {
        assert_eq!(arg_max(&[0.0, 2.0, 2.0, 5.0, 1.0, 5.0], 3), [1, 0]);
    }

    #[test]
    fn a_description_reads_itself_back_and_says_what_is_wrong() {
        let head = SceneHead {
            input: "patch".into(),
            output: "logits".into(),
            classes: vec!["corn".into(), "oats".into()],
            mean: vec![1.0, 2.0],
            deviation: vec![0.5, 1.0],
        };
        assert_eq!(SceneHead::from_json(&head.to_json()), Ok(head.clone()));
        let refused = |change: fn(&mut SceneHead)| {
            let mut bad = head.clone();
            change(&mut bad);
            SceneHead::from_json(&bad.to_json()).unwrap_err()
        };
        assert!(refused(|h| h.classes.truncate(1)).contains("1 classes"));
        assert!(refused(|h| h.mean.truncate(1)).contains("1 means and 2 deviations"));
        assert!(refused(|h| h.deviation[0] = 0.0).contains("out of range"));
    }
}
