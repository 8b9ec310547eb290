//! Quantize any ONNX detector to 2-8 bits and run it in integers.
