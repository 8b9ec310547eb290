//! Scalar functions in f32 with one definition for every path.
//!
//! Float results must be equal bit for bit on every instruction set, so the functions that an operating
//! system's libm rounds differently are written out here, each step one IEEE operation or one fused
//! multiply-add, without a branch: inlined into a loop of a function that may use vector instructions they become
//! vector code with the same results.

/// eˣ: range reduction by ln 2 in two parts, polynomial of degree 6, scaling by exponent bits in two steps.
/// Relative error below 2⁻²²; +∞ above 88.73, 0 below −103.97; NaN stays NaN.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    const LOG2E: f32 = std::f32::consts::LOG2_E;
    const LN2_HI: f32 = 0.693_359_4;
    const LN2_LO: f32 = -2.121_944_4e-4;
    let clamped = x.clamp(-104.0, 89.0);
    let n = (clamped * LOG2E).round_ties_even();
    let r = n.mul_add(-LN2_HI, clamped);
    let r = n.mul_add(-LN2_LO, r);
    let mut p = 1.987_569_1e-4_f32;
    p = p.mul_add(r, 1.398_199_9e-3);
    p = p.mul_add(r, 8.333_452e-3);
    p = p.mul_add(r, 4.166_579_6e-2);
    p = p.mul_add(r, 1.666_666_6e-1);
    p = p.mul_add(r, 0.5);
    p = p.mul_add(r * r, r);
    p += 1.0;
    // n lies in −150…128: two factors, each a normal power of two. Added to 1.5 · 2²³, n is the low bits of the sum.
    const BIG: f32 = 12_582_912.0;
    let n = ((n + BIG).to_bits() as i32).wrapping_sub(BIG.to_bits() as i32);
    let half = n >> 1;
    p * pow2(half) * pow2(n.wrapping_sub(half))
}

#[inline(always)]
fn pow2(n: i32) -> f32 {
    f32::from_bits((n.wrapping_add(127) as u32) << 23)
}

/// 1 / (1 + e⁻ˣ).
#[inline(always)]
pub fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// x · sigmoid(x), the SiLU or Swish activation.
#[inline(always)]
pub fn silu(x: f32) -> f32 {
    x * sigmoid(x)
}

/// tanh by e²ˣ, with the odd series of degree 7 near zero where the quotient would cancel.
#[inline(always)]
pub fn tanh(x: f32) -> f32 {
    let a = x.abs();
    let s = x * x;
    let mut p = -0.053_968_254_f32;
    p = p.mul_add(s, 0.133_333_33);
    p = p.mul_add(s, -0.333_333_34);
    let near = (p * s).mul_add(x, x);
    let t = exp(-2.0 * a);
    let far = ((1.0 - t) / (1.0 + t)).copysign(x);
    if a < 0.25 { near } else { far }
}

/// x · tanh(softplus(x)), with e = eˣ: tanh(ln(1 + e)) = n / (n + 2), n = e·(e + 2). Above 20 the quotient is 1.
#[inline(always)]
pub fn mish(x: f32) -> f32 {
    let e = exp(if x > 20.0 { 20.0 } else { x });
    let n = e * (e + 2.0);
    x * (n / (n + 2.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn close_to_the_exact_functions() {
        for i in -20_000..=20_000 {
            let x = i as f32 * 0.004;
            let want = f64::from(x).exp();
            let got = f64::from(exp(x));
            assert!(
                (got - want).abs() <= want * 4e-7,
                "exp({x}) = {got}, exact {want}"
            );
            let want = f64::from(x).tanh();
            assert!(
                (f64::from(tanh(x)) - want).abs() <= want.abs() * 1e-6,
                "tanh({x})"
            );
            let want = 1.0 / (1.0 + (-f64::from(x)).exp());
            assert!(
                (f64::from(sigmoid(x)) - want).abs() <= want * 1e-6,
                "sigmoid({x})"
            );
            let x = f64::from(x);
            let want = x * x.exp().ln_1p().tanh();
            assert!(
                (f64::from(mish(x as f32)) - want).abs() <= want.abs() * 1e-6 + 1e-30,
                "mish({x})"
            );
        }
    }

    #[test]
    fn ends_of_the_range() {
        assert_eq!(exp(0.0), 1.0);
        assert_eq!(exp(f32::INFINITY), f32::INFINITY);
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
        assert!(exp(f32::NAN).is_nan());
        assert_eq!(exp(100.0), f32::INFINITY);
        assert!(exp(-88.0) > 0.0);
        assert_eq!(sigmoid(-200.0), 0.0);
        assert_eq!(tanh(50.0), 1.0);
    }
}
