//! One model in lowbit's packed form: the path of every model, from other seeds.

pub const WORDS: &[&str] = &[];

pub fn target(bytes: &[u8]) {
    super::onnx::target(bytes);
}
