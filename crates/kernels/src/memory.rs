//! What the process asks of the allocator.

/// Blocks from here on go back to the system when they are freed: above what most tensors of small networks take, below the activations of large layers.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const LARGE: i32 = 1 << 20;

/// Makes blocks of 1 MiB and more go back to the system as soon as they are freed; gives whether the C library can.
///
/// The GNU C library keeps freed blocks of up to 32 MiB for each thread once some of that size were freed. Work that holds few large tensors at a time, but
/// ever others, then grows to half as much again. A block that is asked of the system costs its pages' first touch, so that this is for such work
/// (quantization), not for a network that runs again and again. Call it before threads are started that allocate.
pub fn return_large_blocks() -> bool {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        const M_MMAP_THRESHOLD: i32 = -3;
        // SAFETY: the signature is that of <malloc.h>; mallopt takes any two numbers, and its own lock.
        unsafe extern "C" {
            safe fn mallopt(parameter: i32, value: i32) -> i32;
        }
        mallopt(M_MMAP_THRESHOLD, LARGE) == 1
    }
    #[cfg(not(all(target_os = "linux", target_env = "gnu")))]
    false
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_gnu_library_knows_the_setting() {
        let gnu = cfg!(all(target_os = "linux", target_env = "gnu"));
        assert_eq!(super::return_large_blocks(), gnu);
    }
}
