use super::super::{Resize, names};
use super::describe::own;
use super::*;

fn info(name: &str, shape: &[usize], tail: &[&str]) -> OutputInfo {
    OutputInfo {
        name: name.into(),
        shape: shape.iter().map(|d| Some(*d)).collect(),
        tail: own(tail),
    }
}

fn look(size: [usize; 2], outputs: &[OutputInfo], metadata: &[(&str, &str)]) -> Guess {
    let metadata = metadata
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
        .collect();
    recognise(&info("x", &[1, 3, size[1], size[0]], &[]), outputs, &metadata)
}

#[test]
fn each_shared_detector_by_its_shapes() {
    let meta = [("names", "{0: 'a', 1: \"b's\", 2: 'c'}"), ("stride", "32")];
    let g = look([320, 320], &[info("o", &[1, 7, 2100], &["Concat"])], &meta);
    assert_eq!(g.certainty, Certainty::Certain);
    let head = g.head.unwrap();
    assert_eq!(head.family, Family::Yolov8("o".into()));
    assert_eq!(head.classes, ["a", "b's", "c"]);

    let g = look([640, 640], &[info("o", &[1, 25200, 8], &[])], &meta);
    assert_eq!(g.head.unwrap().family, Family::Yolov5Decoded("o".into()));

    let g = look(
        [416, 416],
        &[info("o", &[1, 3549, 85], &["Transpose", "Concat", "Sigmoid"])],
        &[],
    );
    assert_eq!(g.certainty, Certainty::Likely);
    let head = g.head.unwrap();
    assert!(matches!(head.family, Family::Yolox { .. }));
    assert_eq!(
        (head.input.resize, head.classes.len()),
        (Resize::LetterboxTopleft, 80)
    );

    let nano: Vec<OutputInfo> = [2704, 676, 169]
        .iter()
        .map(|n| info(&format!("c{n}"), &[1, *n, 80], &[]))
        .collect();
    let nano: Vec<_> = nano
        .into_iter()
        .chain([2704, 676, 169].map(|n: usize| info(&format!("b{n}"), &[1, n, 32], &[])))
        .collect();
    let Family::Nanodet { heads, reg_max, .. } = look([416, 416], &nano, &[]).head.unwrap().family else {
        panic!("not NanoDet")
    };
    assert_eq!(
        (heads[1].cls.as_str(), heads[1].boxes.as_str(), reg_max),
        ("c676", "b676", 7)
    );

    let g = look(
        [352, 352],
        &[info("o", &[1, 85, 22, 22], &["Concat", "Sigmoid", "Softmax"])],
        &[],
    );
    assert_eq!(g.head.unwrap().family, Family::Fastestdet("o".into()));

    let face = [
        info("scores", &[1, 4420, 2], &["Softmax"]),
        info("boxes", &[1, 4420, 4], &["Concat"]),
    ];
    let head = look([320, 240], &face, &[]).head.unwrap();
    assert!(matches!(head.family, Family::Ssd { .. }));
    assert_eq!(head.classes, ["face"]);
}

#[test]
fn anchors_are_never_invented() {
    let g = look(
        [320, 320],
        &[
            info("a", &[1, 75, 10, 10], &["Conv"]),
            info("b", &[1, 75, 20, 20], &[]),
        ],
        &[],
    );
    assert_eq!((g.certainty, g.head), (Certainty::Unknown, None));
    assert!(g.why.contains("anchors"), "{}", g.why);
    assert_eq!(g.shapes, "\"a\": [1, 75, 10, 10]\n\"b\": [1, 75, 20, 20]\n");
    let template = Head::from_json(&g.template).unwrap();
    assert_eq!(template.classes, names::VOC);
    assert!(matches!(&template.family, Family::Yolov3(h) if h[1].stride == 16.0));
}

#[test]
fn stored_description_wins_and_a_broken_one_is_told() {
    let first = look([416, 416], &[info("o", &[1, 3549, 6], &[])], &[])
        .head
        .unwrap();
    let json = first.to_json();
    let g = look([416, 416], &[info("o", &[1, 9], &[])], &[(METADATA_KEY, &json)]);
    assert_eq!((g.certainty, g.head), (Certainty::Certain, Some(first)));
    let g = look([416, 416], &[info("o", &[1, 9], &[])], &[(METADATA_KEY, "{")]);
    assert_eq!((g.certainty, g.head), (Certainty::Unknown, None));
    assert!(g.why.contains("broken"));
}

#[test]
fn models_that_end_in_nms() {
    let g = look([640, 640], &[info("o", &[1, 300, 6], &[])], &[]);
    assert!(g.head.unwrap().has_nms());
    let three = [
        info("boxes", &[1, 8400, 4], &[]),
        info("scores", &[1, 80, 8400], &[]),
        info("selected", &[12, 3], &["NonMaxSuppression"]),
    ];
    let head = look([640, 640], &three, &[]).head.unwrap();
    assert_eq!(head.outputs(), ["selected", "boxes", "scores"]);
}

#[test]
fn python_names_are_read_strictly() {
    assert_eq!(python_names("['a', 'b']").unwrap(), ["a", "b"]);
    assert_eq!(python_names(r"{0: 'a\'b'}").unwrap(), ["a'b"]);
    for bad in [
        "",
        "{",
        "{1: 'a'}",
        "{0: a}",
        "{0: 'a'",
        "[]",
        "{0: 'a' 1: 'b'}",
        "{0: 'a",
    ] {
        assert_eq!(python_names(bad), None, "{bad}");
    }
}
