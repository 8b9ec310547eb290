//! Which groups are pruned.

use super::Groups;

/// Keeps all but `count` of the weakest groups by [`Groups::comparable_norms`], and never prunes the last group of an output channel; of groups that are equally
/// strong the first go first. `true` is kept. Fewer than asked for go where channels would lose their last one.
pub fn select(groups: &Groups, w: &[f32], count: usize) -> Vec<bool> {
    let norms = groups.comparable_norms(w);
    let mut order: Vec<usize> = (0..groups.len()).collect();
    order.sort_by(|&a, &b| norms[a].total_cmp(&norms[b]));
    let channels = groups.outputs(groups.len() - 1).end;
    let mut left = vec![0usize; channels];
    for g in 0..groups.len() {
        groups.outputs(g).for_each(|o| left[o] += 1);
    }
    let mut kept = vec![true; groups.len()];
    let mut pruned = 0;
    for g in order {
        if pruned == count {
            break;
        }
        if groups.outputs(g).all(|o| left[o] > 1) {
            groups.outputs(g).for_each(|o| left[o] -= 1);
            kept[g] = false;
            pruned += 1;
        }
    }
    kept
}
