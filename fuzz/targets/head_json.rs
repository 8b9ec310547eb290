//! A head description.

use tasks::detect::Head;

#[rustfmt::skip]
pub const WORDS: &[&str] = &[
    "\"family\":", "\"yolov3\"", "\"yolov5\"", "\"yolov8\"", "\"yolox\"", "\"ssd\"", "\"nanodet\"", "\"fastestdet\"", "\"anchors\":",
    "\"stride\":", "\"input\":", "\"classes\":", "\"reg_max\":", "null", "[", "]", "{", "}", "1e39", "-1", "0",
];

pub fn target(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Ok(head) = Head::from_json(text) {
        let again = head.to_json();
        let second = Head::from_json(&again).unwrap_or_else(|e| panic!("what is written is not read: {e}"));
        assert_eq!(second.to_json(), again);
    }
}
