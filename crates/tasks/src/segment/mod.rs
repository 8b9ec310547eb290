//! Segmentation of volumes: what a network's input and output mean, overlap of masks, patches that cover a volume.

mod dice;
mod patches;

use serde::{Deserialize, Serialize};

pub use dice::{Overlap, dice, mean_dice};
pub use patches::{Patch, cover};

/// Metadata key of the description in a model file.
pub const METADATA_KEY: &str = "lowbit.segment";

/// What the tensors of a segmentation network mean: input `[N, 1, D, H, W]` of intensities times `scale`, output `[N, classes, D, H, W]` of logits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SegmentHead {
    /// Name of the input.
    pub input: String,
    /// Name of the logits.
    pub output: String,
    /// Name of each class, the background first.
    pub classes: Vec<String>,
    /// What intensities are multiplied by: 1/255 for 8-bit volumes.
    pub scale: f32,
    /// Every axis of the input is a multiple of this.
    pub multiple: usize,
}

impl SegmentHead {
    /// Reads the description.
    ///
    /// # Errors
    /// A sentence: JSON that is none, keys that are not known, numbers out of range.
    pub fn from_json(text: &str) -> Result<SegmentHead, String> {
        let head: SegmentHead = serde_json::from_str(text).map_err(|e| e.to_string())?;
        if !(2..=256).contains(&head.classes.len()) {
            return Err(format!(
                "it has {} classes; 2 to 256 are possible",
                head.classes.len()
            ));
        }
        if !(head.scale.is_finite() && head.scale > 0.0 && (1..=1024).contains(&head.multiple)) {
            return Err("its scale or its multiple is out of range".into());
        }
        Ok(head)
    }

    /// The description as JSON.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("plain data")
    }
}

/// Class of the largest logit of each voxel, the first of equal ones; `logits` are `[classes, voxels]`.
///
/// ```
/// assert_eq!(tasks::segment::arg_max(&[0.0, 2.0, 1.0, 2.0], 2), [1, 0]);
/// ```
pub fn arg_max(logits: &[f32], classes: usize) -> Vec<u8> {
    let voxels = logits.len() / classes.max(1);
    let mut best: Vec<(f32, u8)> = logits[..voxels].iter().map(|&z| (z, 0)).collect();
    for class in 1..classes {
        let plane = &logits[class * voxels..(class + 1) * voxels];
        for (best, &z) in best.iter_mut().zip(plane) {
            if z > best.0 {
                *best = (z, class as u8);
            }
        }
    }
    best.into_iter().map(|b| b.1).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_reads_itself_back_and_says_what_is_wrong() {
        let head = SegmentHead {
            input: "volume".into(),
            output: "logits".into(),
            classes: vec!["background".into(), "anterior".into()],
            scale: 1.0 / 255.0,
            multiple: 4,
        };
        assert_eq!(SegmentHead::from_json(&head.to_json()), Ok(head.clone()));
        let one = SegmentHead {
            classes: vec!["background".into()],
            ..head
        };
        assert!(
            SegmentHead::from_json(&one.to_json())
                .unwrap_err()
                .contains("1 classes")
        );
        assert!(SegmentHead::from_json("{}").is_err());
    }
}
