//! Float32 kernels; the rules are in `FORMAT.md` 1.15.
