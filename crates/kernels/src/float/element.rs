//! Row kernels as plain loops: a function that may use vector instructions inlines them and becomes vector code.

use tensor::math;

use super::binary::BinaryOp;

#[inline(always)]
pub(super) fn binary(op: BinaryOp, a: &[f32], b: &[f32], y: &mut [f32]) {
    #[inline(always)]
    fn each(a: &[f32], b: &[f32], y: &mut [f32], f: impl Fn(f32, f32) -> f32) {
        for ((y, &a), &b) in y.iter_mut().zip(a).zip(b) {
            *y = f(a, b);
        }
    }
    // One loop per operator: the choice stays outside.
    match op {
        BinaryOp::Add => each(a, b, y, |a, b| BinaryOp::Add.apply(a, b)),
        BinaryOp::Sub => each(a, b, y, |a, b| BinaryOp::Sub.apply(a, b)),
        BinaryOp::Mul => each(a, b, y, |a, b| BinaryOp::Mul.apply(a, b)),
        BinaryOp::Div => each(a, b, y, |a, b| BinaryOp::Div.apply(a, b)),
        BinaryOp::Max => each(a, b, y, |a, b| BinaryOp::Max.apply(a, b)),
        BinaryOp::Min => each(a, b, y, |a, b| BinaryOp::Min.apply(a, b)),
        BinaryOp::PRelu => each(a, b, y, |a, b| BinaryOp::PRelu.apply(a, b)),
    }
}

/// From element `at` on.
#[inline(always)]
pub(super) fn max(acc: &mut [f32], taps: &[&[f32]], at: usize) {
    for tap in taps {
        for (acc, &x) in acc[at..].iter_mut().zip(&tap[at..]) {
            *acc = if x > *acc { x } else { *acc };
        }
    }
}

/// From element `at` on.
#[inline(always)]
pub(super) fn sum(acc: &mut [f32], taps: &[&[f32]], at: usize) {
    for tap in taps {
        for (acc, &x) in acc[at..].iter_mut().zip(&tap[at..]) {
            *acc += x;
        }
    }
}

#[inline(always)]
pub(super) fn weigh(w: f32, acc: &mut [f32], x: &[f32]) {
    for (acc, &x) in acc.iter_mut().zip(x) {
        *acc = w.mul_add(x, *acc);
    }
}

#[inline(always)]
pub(super) fn divide(y: &mut [f32], n: f32) {
    for y in y {
        *y /= n;
    }
}

#[inline(always)]
pub(super) fn exp_less(y: &mut [f32], most: f32) {
    for y in y {
        *y = math::exp(*y - most);
    }
}
