//! Integer kernels; the rules are in `FORMAT.md` part 1.
