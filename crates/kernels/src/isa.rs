//! Instruction sets, detected at run time.

use std::sync::OnceLock;

/// An instruction set that kernels are written for, worst to best.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)]
pub enum Isa {
    Scalar,
    Simd128,
    Neon,
    DotProd,
    I8mm,
    Avx2,
    AvxVnni,
    Avx512Vnni,
    Amx,
}

impl Isa {
    /// All of this architecture, worst to best.
    #[cfg(target_arch = "x86_64")]
    pub const ALL: &[Isa] = &[Isa::Scalar, Isa::Avx2, Isa::AvxVnni, Isa::Avx512Vnni, Isa::Amx];
    /// All of this architecture, worst to best.
    #[cfg(target_arch = "aarch64")]
    pub const ALL: &[Isa] = &[Isa::Scalar, Isa::Neon, Isa::DotProd, Isa::I8mm];
    /// All of this architecture, worst to best.
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    pub const ALL: &[Isa] = &[Isa::Scalar, Isa::Simd128];

    /// Name as in `LOWBIT_ISA`, flags and tables.
    pub fn name(self) -> &'static str {
        match self {
            Isa::Scalar => "scalar",
            Isa::Simd128 => "simd128",
            Isa::Neon => "neon",
            Isa::DotProd => "dotprod",
            Isa::I8mm => "i8mm",
            Isa::Avx2 => "avx2",
            Isa::AvxVnni => "avxvnni",
            Isa::Avx512Vnni => "avx512vnni",
            Isa::Amx => "amx",
        }
    }

    /// The instruction set of that name.
    pub fn parse(name: &str) -> Option<Isa> {
        Isa::ALL.iter().copied().find(|isa| isa.name() == name)
    }

    /// Whether this CPU runs it. AVX2 implies FMA; AVX-512 means F, BW, VL, DQ, VBMI and VNNI; AMX means its INT8 tiles beside all of these,
    /// I8MM dot products of signed bytes, too.
    pub fn is_available(self) -> bool {
        #[cfg(target_arch = "x86_64")]
        {
            let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
            match self {
                Isa::Scalar => true,
                Isa::Simd128 | Isa::Neon | Isa::DotProd | Isa::I8mm => false,
                Isa::Avx2 => avx2,
                Isa::AvxVnni => avx2 && is_x86_feature_detected!("avxvnni"),
                Isa::Avx512Vnni => {
                    avx2 && is_x86_feature_detected!("avx512f")
                        && is_x86_feature_detected!("avx512bw")
                        && is_x86_feature_detected!("avx512vl")
                        && is_x86_feature_detected!("avx512dq")
                        && is_x86_feature_detected!("avx512vbmi")
                        && is_x86_feature_detected!("avx512vnni")
                }
                Isa::Amx => Isa::Avx512Vnni.is_available() && crate::int::amx::allowed(),
            }
        }
        #[cfg(target_arch = "aarch64")]
        {
            let dot = std::arch::is_aarch64_feature_detected!("dotprod");
            match self {
                Isa::Scalar | Isa::Neon => true,
                Isa::DotProd => dot,
                Isa::I8mm => dot && std::arch::is_aarch64_feature_detected!("i8mm"),
                _ => false,
            }
        }
        #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
        {
            // A build for WebAssembly has it or has not.
            self == Isa::Scalar || self == Isa::Simd128 && cfg!(target_feature = "simd128")
        }
    }

    /// Those this CPU runs, worst to best; never empty.
    pub fn usable() -> Vec<Isa> {
        Isa::ALL
            .iter()
            .copied()
            .filter(|isa| isa.is_available())
            .collect()
    }

    /// The best one, or the one that `LOWBIT_ISA` names where this CPU has it.
    pub fn best() -> Isa {
        static BEST: OnceLock<Isa> = OnceLock::new();
        *BEST.get_or_init(|| {
            let forced = std::env::var("LOWBIT_ISA")
                .ok()
                .and_then(|name| Isa::parse(&name));
            let best = Isa::usable().pop().unwrap_or(Isa::Scalar);
            forced.filter(|isa| isa.is_available()).unwrap_or(best)
        })
    }
}
