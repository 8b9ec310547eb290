//! Patches of one size that cover a volume, and which voxels each of them answers for.

use std::ops::Range;

/// A patch: where it lies, and the part of the volume that is taken from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Patch {
    /// First voxel of each axis; what lies beyond the volume is padding.
    pub start: [usize; 3],
    /// Voxels of the volume that the patch answers for.
    pub keep: [Range<usize>; 3],
}

/// Starts and kept ranges along one axis: neighbours share at least `overlap` voxels, at most half a patch, and each keeps its half of what they share.
fn axis(length: usize, patch: usize, overlap: usize) -> Vec<(usize, Range<usize>)> {
    if length <= patch {
        return vec![(0, 0..length)];
    }
    let step = patch - overlap.min(patch / 2);
    let count = (length - patch).div_ceil(step) + 1;
    let start = |k: usize| k * (length - patch) / (count - 1);
    let border = |k: usize| match k {
        0 => 0,
        k if k == count => length,
        k => (start(k) + start(k - 1) + patch) / 2,
    };
    (0..count).map(|k| (start(k), border(k)..border(k + 1))).collect()
}

/// Patches of size `patch` whose kept parts are the volume, each voxel once, in row-major order. Neighbours overlap by at least `overlap` voxels (half a
/// patch where that is less), so that what is kept lies half of that away from a border that is not the volume's.
///
/// ```
/// let all = tasks::segment::cover([10, 4, 4], [6, 8, 4], 2);
/// assert_eq!(all.len(), 2);
/// assert_eq!((all[0].keep[0].clone(), all[1].start, all[1].keep[0].clone()), (0..5, [4, 0, 0], 5..10));
/// ```
///
/// # Panics
/// A patch without voxels.
pub fn cover(shape: [usize; 3], patch: [usize; 3], overlap: usize) -> Vec<Patch> {
    assert!(patch.iter().all(|&p| p > 0), "a patch has voxels");
    let [a, b, c]: [Vec<_>; 3] = std::array::from_fn(|k| axis(shape[k], patch[k], overlap));
    let mut out = Vec::with_capacity(a.len() * b.len() * c.len());
    for (z, z_keep) in &a {
        for (y, y_keep) in &b {
            for (x, x_keep) in &c {
                out.push(Patch {
                    start: [*z, *y, *x],
                    keep: [z_keep.clone(), y_keep.clone(), x_keep.clone()],
                });
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_voxel_is_kept_once_by_a_patch_that_holds_it_and_not_at_its_border() {
        for length in 1..60 {
            for patch in 1..20 {
                for overlap in 0..8 {
                    let all = axis(length, patch, overlap);
                    let mut next = 0;
                    for (i, (start, keep)) in all.iter().enumerate() {
                        assert_eq!(keep.start, next);
                        next = keep.end;
                        assert!(
                            keep.start >= *start && keep.end <= start + patch,
                            "{length} {patch} {overlap}"
                        );
                        let margin = overlap.min(patch / 2) / 2;
                        assert!(i == 0 || keep.start - start >= margin);
                        assert!(i + 1 == all.len() || start + patch - keep.end >= margin);
                    }
                    assert_eq!(next, length);
                }
            }
        }
    }
}
