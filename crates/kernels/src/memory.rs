//! What the process asks of the allocator.

/// Blocks from here on are asked of the system one by one, and go back when they are freed. From 1 MiB on it costs a fifth of the time of `--effort fast`.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const LARGE: i32 = 8 << 20;

/// Bytes that may stay free at the end of a thread's memory.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const FREE: i32 = 4 << 20;

/// Makes large blocks go back to the system as soon as they are freed; gives whether the C library can.
///
/// The GNU C library keeps freed blocks of up to 32 MiB, and twice as much at the end of each thread's memory, once blocks of that size were freed. Work that
/// holds few large tensors at a time, but ever others, then grows to half as much again. A block that is asked of the system costs its pages' first touch, so
/// that this is for such work (quantization), not for a network that runs again and again. Call it before threads are started that allocate.
pub fn return_large_blocks() -> bool {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        const M_TRIM_THRESHOLD: i32 = -1;
        const M_MMAP_THRESHOLD: i32 = -3;
        // SAFETY: the signature is that of <malloc.h>; mallopt takes any two numbers, and its own lock.
        unsafe extern "C" {
            safe fn mallopt(parameter: i32, value: i32) -> i32;
        }
        mallopt(M_MMAP_THRESHOLD, LARGE) == 1 && mallopt(M_TRIM_THRESHOLD, FREE) == 1
    }
    #[cfg(not(all(target_os = "linux", target_env = "gnu")))]
    false
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_gnu_library_knows_the_settings() {
        let gnu = cfg!(all(target_os = "linux", target_env = "gnu"));
        assert_eq!(super::return_large_blocks(), gnu);
    }
}
