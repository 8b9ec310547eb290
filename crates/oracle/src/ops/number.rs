//! Arithmetic by element type.

/// Numbers that products and sums are made of: floats fused, integers exact.
pub(crate) trait Mac: Copy {
    /// Additive zero.
    const ZERO: Self;
    /// `self + x·w` in one rounding.
    fn mac(self, x: Self, w: Self) -> Self;
}

impl Mac for i64 {
    const ZERO: Self = 0;
    fn mac(self, x: Self, w: Self) -> Self {
        // Wraps for hostile tensors alone; the integer rules prove that it does not (1.13).
        self.wrapping_add(x.wrapping_mul(w))
    }
}

/// Arithmetic of every numeric element type; integers wrap.
pub(crate) trait Number: Copy + PartialOrd {
    const ZERO: Self;
    const ONE: Self;
    /// Below every number: −∞ or the smallest integer.
    const LOWEST: Self;
    /// Above every number.
    const HIGHEST: Self;
    fn plus(self, o: Self) -> Self;
    fn minus(self, o: Self) -> Self;
    fn times(self, o: Self) -> Self;
    /// `None` for an integer divided by zero.
    fn over(self, o: Self) -> Option<Self>;
    /// C's remainder, with the sign of self; `None` for integers modulo zero.
    fn fmod(self, o: Self) -> Option<Self>;
    fn magnitude(self) -> Self;
    /// By way of f64.
    fn to_f64(self) -> f64;
    /// Nearest, or cut off and saturated for integers.
    fn of_f64(v: f64) -> Self;
    /// A total order in which −0 equals +0.
    fn order(self, o: Self) -> std::cmp::Ordering;
}

macro_rules! integer {
    ($($t:ty),*) => {$(
        impl Number for $t {
            const ZERO: Self = 0;
            const ONE: Self = 1;
            const LOWEST: Self = <$t>::MIN;
            const HIGHEST: Self = <$t>::MAX;
            fn plus(self, o: Self) -> Self { self.wrapping_add(o) }
            fn minus(self, o: Self) -> Self { self.wrapping_sub(o) }
            fn times(self, o: Self) -> Self { self.wrapping_mul(o) }
            fn over(self, o: Self) -> Option<Self> { (o != 0).then(|| self.wrapping_div(o)) }
            fn fmod(self, o: Self) -> Option<Self> { (o != 0).then(|| self.wrapping_rem(o)) }
            #[allow(unused_comparisons)]
            fn magnitude(self) -> Self { if self < 0 { (0 as $t).wrapping_sub(self) } else { self } }
            fn to_f64(self) -> f64 { self as f64 }
            fn of_f64(v: f64) -> Self { v as $t }
            fn order(self, o: Self) -> std::cmp::Ordering { self.cmp(&o) }
        }
    )*};
}
integer!(i8, u8, i16, u16, i32, u32, i64, u64);

/// f32 and f64.
pub(crate) trait Real: Number + Mac {
    fn exp(self) -> Self;
    fn fma(a: Self, b: Self, c: Self) -> Self {
        c.mac(a, b)
    }
}

macro_rules! real {
    ($($t:ty, $exp:path);*) => {$(
        impl Mac for $t {
            const ZERO: Self = 0.0;
            fn mac(self, x: Self, w: Self) -> Self { x.mul_add(w, self) }
        }
        impl Number for $t {
            const ZERO: Self = 0.0;
            const ONE: Self = 1.0;
            const LOWEST: Self = <$t>::NEG_INFINITY;
            const HIGHEST: Self = <$t>::INFINITY;
            fn plus(self, o: Self) -> Self { self + o }
            fn minus(self, o: Self) -> Self { self - o }
            fn times(self, o: Self) -> Self { self * o }
            fn over(self, o: Self) -> Option<Self> { Some(self / o) }
            fn fmod(self, o: Self) -> Option<Self> { Some(self % o) }
            fn magnitude(self) -> Self { self.abs() }
            fn to_f64(self) -> f64 { f64::from(self) }
            fn of_f64(v: f64) -> Self { v as $t }
            fn order(self, o: Self) -> std::cmp::Ordering { (self + 0.0).total_cmp(&(o + 0.0)) }
        }
        impl Real for $t {
            fn exp(self) -> Self { $exp(self) }
        }
    )*};
}
real!(f32, tensor::math::exp; f64, libm::exp);

/// `x > m ? x : m`: the maximum that one `max` instruction computes; a NaN in x is passed over.
pub(crate) fn larger<T: PartialOrd>(m: T, x: T) -> T {
    if x > m { x } else { m }
}

/// `x < m ? x : m`.
pub(crate) fn smaller<T: PartialOrd>(m: T, x: T) -> T {
    if x < m { x } else { m }
}
