//! Peaks are measured where the instructions exist, and nowhere else.

use kernels::peak::{Arithmetic, bytes_per_second, macs_per_second};
use kernels::{Isa, Pool};

#[test]
fn every_arithmetic_of_this_cpu_has_a_rate_and_no_other() {
    let pool = Pool::new(2);
    for isa in Isa::ALL.iter().copied() {
        for arithmetic in Arithmetic::ALL {
            let first = match arithmetic {
                Arithmetic::Dot => Isa::AvxVnni,
                Arithmetic::Tiles => Isa::Amx,
                _ => Isa::Avx2,
            };
            let exists = isa.is_available() && isa >= first;
            let rate = macs_per_second(&pool, isa, arithmetic);
            assert_eq!(rate.is_some(), exists, "{isa:?} {arithmetic:?}");
            assert!(
                rate.is_none_or(|r| r.is_finite() && r > 0.0),
                "{isa:?} {arithmetic:?}: {rate:?}"
            );
        }
    }
    for bytes in [0, 1000, 1 << 18] {
        let rate = bytes_per_second(&pool, bytes);
        assert!(rate.is_finite() && rate > 0.0, "{bytes}: {rate}");
    }
}
