//! Boxes, heads, NMS and average precision: pure functions.
