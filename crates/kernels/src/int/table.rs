//! Tables of 256 codes: unary operators (`FORMAT.md` 1.5) and changes of quantizer (1.8).

use crate::int::registry::{Entry, KernelOp, choose};
use crate::split;
use crate::{Isa, Pool};

/// `y[i] = table[x[i]]`.
pub fn table(pool: &Pool, isa: Isa, table: &[u8; 256], x: &[u8], y: &mut [u8]) {
    assert_eq!(x.len(), y.len(), "table: input and output lengths");
    let row = row(isa);
    split::chunks(pool, y, 1, 1 << 15, |start, part| {
        part.copy_from_slice(&x[start..start + part.len()]);
        // SAFETY: `choose` gives only rows that this CPU runs.
        unsafe { row(table, part) }
    });
}

/// The table kernel of an instruction set, in place.
pub(crate) fn row(isa: Isa) -> unsafe fn(&[u8; 256], &mut [u8]) {
    let Entry::Table(row) = choose(KernelOp::Table, isa).entry else {
        unreachable!("a Table row holds a Table kernel")
    };
    row
}

pub(crate) fn table_scalar(table: &[u8; 256], y: &mut [u8]) {
    for y in y {
        *y = table[usize::from(*y)];
    }
}
