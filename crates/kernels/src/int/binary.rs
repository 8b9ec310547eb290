//! Add, Sub and Mul of two edges (`FORMAT.md` 1.6, 1.7).

use crate::int::registry::{Entry, KernelOp, choose};
use crate::int::rule::{BoundError, Edge, prove, requantize, scale_ratio, to_code};
use crate::{Broadcast, Isa, Pool};

/// Numbers of one Add row kernel.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct AddNumbers {
    pub(crate) zero_a: u8,
    pub(crate) zero_b: u8,
    pub(crate) m_a: f32,
    pub(crate) m_b: f32,
    pub(crate) zero: u8,
    pub(crate) hi: u8,
}

/// Numbers of one Mul row kernel.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct MulNumbers {
    pub(crate) zero_a: u8,
    pub(crate) zero_b: u8,
    pub(crate) m: f32,
    pub(crate) zero: u8,
    pub(crate) hi: u8,
}

/// 1.6: `a + b` or `a − b` of two edges.
#[derive(Debug, Clone)]
pub struct Add {
    numbers: AddNumbers,
    name: &'static str,
    row: unsafe fn(&AddNumbers, &[u8], &[u8], &mut [u8]),
}

impl Add {
    /// For operands `a` and `b`; `subtract` makes it Sub.
    ///
    /// # Errors
    /// When the scales differ so much that the rule's bound (1.13) fails.
    pub fn new(a: Edge, b: Edge, y: Edge, subtract: bool, isa: Isa) -> Result<Add, BoundError> {
        let m_a = scale_ratio(a.scale, 1.0, y.scale);
        let m_b = scale_ratio(b.scale, 1.0, y.scale);
        prove(f64::from(a.hi), m_a)?;
        prove(f64::from(b.hi), m_b)?;
        prove(
            f64::from(a.hi) * f64::from(m_a) + f64::from(b.hi) * f64::from(m_b),
            1.0,
        )?;
        let numbers = AddNumbers {
            zero_a: a.zero,
            zero_b: b.zero,
            m_a,
            m_b: if subtract { -m_b } else { m_b },
            zero: y.zero,
            hi: y.hi,
        };
        let kernel = choose(KernelOp::Add, isa);
        let Entry::Add(row) = kernel.entry else {
            unreachable!("an Add row holds an Add kernel")
        };
        Ok(Add {
            numbers,
            name: kernel.name,
            row,
        })
    }

    /// The registry row that runs.
    pub fn kernel_name(&self) -> &str {
        self.name
    }

    /// Writes the sum of `a` and `b`.
    pub fn run(&self, pool: &Pool, shape: &Broadcast, a: &[u8], b: &[u8], y: &mut [u8]) {
        shape.for_rows(pool, a, b, y, |a, b, y| {
            // SAFETY: `choose` gives only rows that this CPU runs.
            unsafe { (self.row)(&self.numbers, a, b, y) }
        });
    }
}

/// 1.7: the product of two edges.
#[derive(Debug, Clone)]
pub struct Mul {
    numbers: MulNumbers,
    name: &'static str,
    row: unsafe fn(&MulNumbers, &[u8], &[u8], &mut [u8]),
}

impl Mul {
    /// For operands `a` and `b`.
    ///
    /// # Errors
    /// When the scales are so large that the rule's bound (1.13) fails.
    pub fn new(a: Edge, b: Edge, y: Edge, isa: Isa) -> Result<Mul, BoundError> {
        let m = scale_ratio(a.scale, b.scale, y.scale);
        prove(f64::from(a.hi) * f64::from(b.hi), m)?;
        let numbers = MulNumbers {
            zero_a: a.zero,
            zero_b: b.zero,
            m,
            zero: y.zero,
            hi: y.hi,
        };
        let kernel = choose(KernelOp::Mul, isa);
        let Entry::Mul(row) = kernel.entry else {
            unreachable!("a Mul row holds a Mul kernel")
        };
        Ok(Mul {
            numbers,
            name: kernel.name,
            row,
        })
    }

    /// The registry row that runs.
    pub fn kernel_name(&self) -> &str {
        self.name
    }

    /// Writes the product of `a` and `b`.
    pub fn run(&self, pool: &Pool, shape: &Broadcast, a: &[u8], b: &[u8], y: &mut [u8]) {
        shape.for_rows(pool, a, b, y, |a, b, y| {
            // SAFETY: `choose` gives only rows that this CPU runs.
            unsafe { (self.row)(&self.numbers, a, b, y) }
        });
    }
}

pub(crate) fn add_scalar(n: &AddNumbers, a: &[u8], b: &[u8], y: &mut [u8]) {
    for ((y, &a), &b) in y.iter_mut().zip(a).zip(b) {
        let p_a = f32::from(i16::from(a) - i16::from(n.zero_a)) * n.m_a;
        let p_b = f32::from(i16::from(b) - i16::from(n.zero_b)) * n.m_b;
        *y = to_code(p_a + p_b, n.zero, n.hi);
    }
}

pub(crate) fn mul_scalar(n: &MulNumbers, a: &[u8], b: &[u8], y: &mut [u8]) {
    for ((y, &a), &b) in y.iter_mut().zip(a).zip(b) {
        let acc = (i64::from(a) - i64::from(n.zero_a)) * (i64::from(b) - i64::from(n.zero_b));
        *y = requantize(acc, n.m, n.zero, n.hi);
    }
}
