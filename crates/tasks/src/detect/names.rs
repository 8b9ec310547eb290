//! Class names: the two common lists, and names that mean the same.

/// The 20 classes of PASCAL VOC in their usual order.
pub const VOC: [&str; 20] = [
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
];

/// The 80 classes of COCO in their usual order.
pub const COCO: [&str; 80] = [
    "person",
    "bicycle",
    "car",
    "motorcycle",
    "airplane",
    "bus",
    "train",
    "truck",
    "boat",
    "traffic light",
    "fire hydrant",
    "stop sign",
    "parking meter",
    "bench",
    "bird",
    "cat",
    "dog",
    "horse",
    "sheep",
    "cow",
    "elephant",
    "bear",
    "zebra",
    "giraffe",
    "backpack",
    "umbrella",
    "handbag",
    "tie",
    "suitcase",
    "frisbee",
    "skis",
    "snowboard",
    "sports ball",
    "kite",
    "baseball bat",
    "baseball glove",
    "skateboard",
    "surfboard",
    "tennis racket",
    "bottle",
    "wine glass",
    "cup",
    "fork",
    "knife",
    "spoon",
    "bowl",
    "banana",
    "apple",
    "sandwich",
    "orange",
    "broccoli",
    "carrot",
    "hot dog",
    "pizza",
    "donut",
    "cake",
    "chair",
    "couch",
    "potted plant",
    "bed",
    "dining table",
    "toilet",
    "tv",
    "laptop",
    "mouse",
    "remote",
    "keyboard",
    "cell phone",
    "microwave",
    "oven",
    "toaster",
    "sink",
    "refrigerator",
    "book",
    "clock",
    "vase",
    "scissors",
    "teddy bear",
    "hair drier",
    "toothbrush",
];

/// COCO's name and VOC's name of the six classes that the two lists spell differently.
pub const ALIASES: [(&str, &str); 6] = [
    ("airplane", "aeroplane"),
    ("motorcycle", "motorbike"),
    ("couch", "sofa"),
    ("dining table", "diningtable"),
    ("potted plant", "pottedplant"),
    ("tv", "tvmonitor"),
];

/// The one spelling under which a class is compared: trimmed, and VOC's name where COCO has another.
///
/// ```
/// assert_eq!(tasks::detect::names::canonical("couch"), "sofa");
/// ```
pub fn canonical(name: &str) -> &str {
    let name = name.trim();
    ALIASES
        .iter()
        .find(|(coco, _)| *coco == name)
        .map_or(name, |(_, voc)| voc)
}

/// Which class of a model is which class of a data set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClassMap {
    /// Canonical names known to both, sorted; the index is the class index of the evaluation.
    pub common: Vec<String>,
    /// For each class of the model its index in `common`.
    pub model: Vec<Option<usize>>,
    /// For each class of the data its index in `common`.
    pub data: Vec<Option<usize>>,
}

impl ClassMap {
    /// Matches two lists by canonical name.
    pub fn new(model: &[String], data: &[String]) -> Self {
        let in_model: std::collections::BTreeSet<&str> = model.iter().map(|n| canonical(n)).collect();
        let common: std::collections::BTreeSet<&str> = data
            .iter()
            .map(|n| canonical(n))
            .filter(|n| in_model.contains(n))
            .collect();
        let common: Vec<String> = common.into_iter().map(str::to_owned).collect();
        let find = |n: &String| common.binary_search_by(|c| c.as_str().cmp(canonical(n))).ok();
        ClassMap {
            model: model.iter().map(find).collect(),
            data: data.iter().map(find).collect(),
            common,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn voc_model_on_coco_names() {
        let own = |n: &[&str]| n.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
        let m = ClassMap::new(&own(&VOC), &own(&COCO));
        assert_eq!(m.common.len(), 20);
        let tv = COCO.iter().position(|n| *n == "tv").unwrap();
        assert_eq!(m.data[tv], m.model[19]);
        assert_eq!(m.data[7], None, "no truck in VOC");
    }
}
