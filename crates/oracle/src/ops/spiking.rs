//! Neurons over steps of time.

use graph::IntegrateFire;

use super::support::{Answer, Inputs, count, product, tensor};

/// x, threshold, leak (`FORMAT.md` 1.15).
pub(super) fn integrate_fire(i: Inputs<'_>, op: &IntegrateFire) -> Answer {
    let (x, shape) = (i.f32s(0)?, i.need(0)?.shape());
    let number = |k: usize| i.float(k)?.ok_or_else(|| format!("input {k} is missing"));
    let (threshold, leak) = (number(1)?, number(2)?);
    let output = outputs(op, shape)?;
    let n = product(&output) / op.ends()[1];
    let mut y = vec![0f32; product(&output)];
    let mut u = vec![0f32; n];
    for t in 0..op.steps {
        let from = if op.constant { 0 } else { t * n };
        let to = if op.count { 0 } else { t * n };
        for (k, u) in u.iter_mut().enumerate() {
            *u = leak * *u + x[from + k];
            if *u > threshold {
                *u -= threshold;
                y[to + k] += 1.0;
            }
        }
    }
    tensor(output, y)
}

/// The shape of the spikes.
pub(crate) fn outputs(op: &IntegrateFire, shape: &[usize]) -> Answer<Vec<usize>> {
    let [from, to] = op.ends();
    let mut output = shape.to_vec();
    let Some(first) = output
        .first_mut()
        .filter(|n| op.steps > 0 && n.is_multiple_of(from))
    else {
        return Err(format!("a first axis of shape {shape:?} is no {from} steps"));
    };
    *first = *first / from * to;
    count(&output, 4)?;
    Ok(output)
}
