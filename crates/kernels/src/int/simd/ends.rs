//! Endings of sums by number, so that each has code of its own.

/// Endings, one set of kernels each.
pub(super) const CODES: u8 = 0;
pub(super) const TABLE: u8 = 1;
pub(super) const REAL: u8 = 2;
/// Any function, chosen behind the sums, and each of them.
pub(super) const FUNCTION: u8 = 3;
pub(super) const LEAKY: u8 = 4;
pub(super) const SWISH: u8 = 5;
pub(super) const HARD_SWISH: u8 = 6;

/// How far from a whole number a quotient may be that is known up to rounding: there codes are the same. The product with 1 / step is within
/// 2⁻²² of the quotient, a quick Swish within 2⁻²⁰ of the written one; both are 2⁸ times that where codes end.
pub(super) const SURE: f32 = 0.499_75;
pub(super) const SURE_OF_SWISH: f32 = 0.499_5;

/// A kernel for each ending, chosen once a line.
macro_rules! by_ending {
    ($call:ident, $f:ident $(, $n:tt)*) => {
        match $call.ending {
            Ending::Codes { table: None, .. } => $f::<$($n,)* CODES>($call),
            Ending::Codes { .. } => $f::<$($n,)* TABLE>($call),
            Ending::Function { .. } => $f::<$($n,)* FUNCTION>($call),
            Ending::Real => $f::<$($n,)* REAL>($call),
        }
    };
}

/// The same with one for each function.
macro_rules! by_function {
    ($call:ident, $f:ident $(, $n:tt)*) => {
        match $call.ending {
            Ending::Function { function: Function::LeakyRelu { .. }, .. } => $f::<$($n,)* LEAKY>($call),
            Ending::Function { function: Function::Swish, .. } => $f::<$($n,)* SWISH>($call),
            Ending::Function { function: Function::HardSwish, .. } => $f::<$($n,)* HARD_SWISH>($call),
            _ => by_ending!($call, $f $(, $n)*),
        }
    };
}
pub(super) use {by_ending, by_function};
