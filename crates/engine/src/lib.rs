//! Plans: a graph compiled for one shape, one ISA, one thread count.
