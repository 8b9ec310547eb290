//! One body, compiled for each instruction set.

/// Defines `fn name(isa, …)`: the body as plain loops, which become vector code where the CPU may use it.
macro_rules! vectorized {
    ($(#[$doc:meta])* fn $name:ident($($arg:ident: $type:ty),* $(,)?) $body:block) => {
        $(#[$doc])*
        #[allow(clippy::too_many_arguments)]
        fn $name(isa: crate::Isa, $($arg: $type),*) {
            #[inline(always)]
            #[allow(clippy::too_many_arguments)]
            fn body($($arg: $type),*) $body
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx2,fma")]
                #[allow(clippy::too_many_arguments)]
                fn avx2($($arg: $type),*) {
                    body($($arg),*);
                }
                #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
                #[allow(clippy::too_many_arguments)]
                fn avx512($($arg: $type),*) {
                    body($($arg),*);
                }
                match crate::float::rows::rows(isa).isa {
                    // SAFETY: `rows` gives only what this CPU runs.
                    crate::Isa::Avx512Vnni | crate::Isa::Amx => return unsafe { avx512($($arg),*) },
                    // SAFETY: as above.
                    crate::Isa::Avx2 | crate::Isa::AvxVnni => return unsafe { avx2($($arg),*) },
                    _ => {}
                }
            }
            let _ = isa;
            body($($arg),*);
        }
    };
}

pub(crate) use vectorized;

/// Pixels of a chunk whose rows stay in the first cache.
pub(super) fn chunk(channels: usize) -> usize {
    (4096 / channels.max(1)).clamp(8, 512)
}

/// Numbers per channel, repeated until a row is long enough for vectors.
pub(super) struct Repeated {
    short: [f32; LONG],
    /// 0 where the list is long enough by itself.
    len: usize,
}

const LONG: usize = 64;

/// Elements of the rows that [`Repeated`] makes of `channels`.
pub(super) fn period(channels: usize) -> usize {
    if channels == 0 || channels >= LONG {
        channels
    } else {
        LONG / channels * channels
    }
}

impl Repeated {
    pub(super) fn new(list: &[f32]) -> Repeated {
        let mut short = [0.0; LONG];
        let len = if list.len() < LONG { period(list.len()) } else { 0 };
        for (to, from) in short[..len].iter_mut().zip(list.iter().cycle()) {
            *to = *from;
        }
        Repeated { short, len }
    }

    pub(super) fn row<'a>(&'a self, list: &'a [f32]) -> &'a [f32] {
        if self.len == 0 {
            list
        } else {
            &self.short[..self.len]
        }
    }
}
