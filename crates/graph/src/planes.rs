//! A ternary weight with groups of zeros as a file stores it: a mask of the groups that are kept, and a plane of the +1 and one of the −1 among the kept weights
//! (`FORMAT.md` 2.3). A group of s weights costs a bit, a kept weight two: 2·(1 − ρ) + 1/s bits a weight where the share ρ of the groups is left out.

use tensor::bits::packed_len;

use crate::annotation::WeightAnnotation;

/// Levels of the codes 0 … 3 of a grid that planes hold.
pub(crate) const LEVELS: [i32; 4] = [0, 1, 0, -1];

/// A weight's extent as groups see it: first axis, second axis, all further ones together.
///
/// ```
/// assert_eq!(graph::planes::extent(&[64, 32, 3, 3]), Some([64, 32, 9]));
/// ```
pub fn extent(shape: &[usize]) -> Option<[usize; 3]> {
    let [first, second, rest @ ..] = shape else {
        return None;
    };
    Some([*first, *second, tensor::numel(rest).ok()?])
}

/// Groups along each axis; those at an end may be short.
pub fn counts(extent: [usize; 3], group: [usize; 3]) -> [usize; 3] {
    [0, 1, 2].map(|axis| extent[axis].div_ceil(group[axis]))
}

/// Number of the group of weight `i`, row-major over blocks as weights are over the extent.
pub(crate) fn group_of(extent: [usize; 3], group: [usize; 3], i: usize) -> usize {
    let count = counts(extent, group);
    let at = [
        i / extent[2] / extent[1],
        i / extent[2] % extent[1],
        i % extent[2],
    ];
    (0..3).fold(0, |block, axis| block * count[axis] + at[axis] / group[axis])
}

/// A weight in this form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planes {
    /// Extent of a group.
    pub group: [usize; 3],
    /// 1 for each group that is kept, else 0.
    pub mask: Vec<u8>,
    /// 1 for each kept weight that is +1, in the weight's order.
    pub plus: Vec<u8>,
    /// The same of −1.
    pub minus: Vec<u8>,
}

impl Planes {
    /// Of a weight of one ternary point, in the groups, each extent a power of two or the whole axis, that take the fewest bytes, where these are fewer than codes take.
    pub fn of(w: &WeightAnnotation) -> Option<Planes> {
        let extent = extent(&w.shape).filter(|extent| !extent.contains(&0))?;
        let [point] = &w.points[..] else { return None };
        if w.levels != LEVELS || w.zero_points.is_some() || point.codes.contains(&2) {
            return None;
        }
        let (bytes, group) = best(extent, &point.codes)?;
        if bytes >= packed_len(point.codes.len(), w.bits)? {
            return None;
        }
        let mut planes = Planes {
            group,
            mask: vec![0; counts(extent, group).iter().product()],
            plus: Vec::new(),
            minus: Vec::new(),
        };
        for (i, _) in point.codes.iter().enumerate().filter(|(_, code)| **code != 0) {
            planes.mask[group_of(extent, group, i)] = 1;
        }
        for (i, &code) in point.codes.iter().enumerate() {
            if planes.mask[group_of(extent, group, i)] == 1 {
                planes.plus.push(u8::from(code == 1));
                planes.minus.push(u8::from(code == 3));
            }
        }
        Some(planes)
    }

    /// Bytes of mask and planes.
    pub fn bytes(&self) -> usize {
        self.mask.len().div_ceil(8) + 2 * self.plus.len().div_ceil(8)
    }

    /// Share of the groups that are left out, 0 … 1.
    pub fn pruned(&self) -> f64 {
        let kept: usize = self.mask.iter().map(|&k| usize::from(k)).sum();
        1.0 - kept as f64 / self.mask.len().max(1) as f64
    }

    /// Share of zeros among the weights of kept groups, 0 … 1.
    pub fn zeros(&self) -> f64 {
        let zeros = self.plus.iter().zip(&self.minus).filter(|(p, m)| **p + **m == 0);
        zeros.count() as f64 / self.plus.len().max(1) as f64
    }
}

/// Which blocks of some size hold a weight that is not 0.
#[derive(Clone)]
struct Blocks {
    extent: [usize; 3],
    size: [usize; 3],
    used: Vec<bool>,
}

impl Blocks {
    fn new(extent: [usize; 3], codes: &[u8], taps: usize) -> Blocks {
        Blocks {
            extent,
            size: [1, 1, taps],
            used: codes
                .chunks(taps)
                .map(|block| block.iter().any(|c| *c != 0))
                .collect(),
        }
    }

    fn count(&self) -> [usize; 3] {
        counts(self.extent, self.size)
    }

    /// Blocks twice as wide along an axis.
    fn doubled(&self, axis: usize) -> Blocks {
        let mut size = self.size;
        size[axis] *= 2;
        let (from, to) = (self.count(), counts(self.extent, size));
        let mut used = vec![false; to.iter().product()];
        for (i, _) in self.used.iter().enumerate().filter(|(_, used)| **used) {
            let mut at = [i / from[2] / from[1], i / from[2] % from[1], i % from[2]];
            at[axis] /= 2;
            used[(at[0] * to[1] + at[1]) * to[2] + at[2]] = true;
        }
        Blocks { size, used, ..*self }
    }

    /// Bytes of mask and planes; `None` where nothing is kept, which codes say.
    fn bytes(&self) -> Option<usize> {
        let [_, second, third] = self.count();
        let width = |axis: usize, at: usize| self.size[axis].min(self.extent[axis] - at * self.size[axis]);
        let used = self.used.iter().enumerate().filter(|(_, used)| **used);
        let kept: usize = used
            .map(|(i, _)| width(0, i / third / second) * width(1, i / third % second) * width(2, i % third))
            .sum();
        (kept > 0).then(|| self.used.len().div_ceil(8) + 2 * kept.div_ceil(8))
    }
}

/// The fewest bytes, and the groups that take them; of equal ones the larger.
fn best(extent: [usize; 3], codes: &[u8]) -> Option<(usize, [usize; 3])> {
    let mut best = None;
    let mut consider = |blocks: &Blocks| {
        let Some(bytes) = blocks.bytes() else { return };
        if best.is_none_or(|(least, _)| bytes <= least) {
            let group = [0, 1, 2].map(|axis| blocks.size[axis].min(extent[axis]));
            best = Some((bytes, group));
        }
    };
    for taps in [1, extent[2]] {
        let mut rows = Blocks::new(extent, codes, taps);
        loop {
            let mut blocks = rows.clone();
            while blocks.size[1] < extent[1] {
                consider(&blocks);
                blocks = blocks.doubled(1);
            }
            consider(&blocks);
            if rows.size[0] >= extent[0] {
                break;
            }
            rows = rows.doubled(0);
        }
    }
    best
}
