//! Boxes in continuous pixel coordinates: pixel `i` covers `i … i + 1`, so a box of one pixel has width 1.

/// An axis-parallel box by its corners, in pixels of the picture (f64, so that files round-trip).
#[derive(Debug, Clone, Copy, PartialEq, Default, serde::Serialize, serde::Deserialize)]
pub struct BBox {
    /// Left.
    pub x1: f64,
    /// Top.
    pub y1: f64,
    /// Right.
    pub x2: f64,
    /// Bottom.
    pub y2: f64,
}

impl BBox {
    /// A box by its corners.
    pub fn new(x1: f64, y1: f64, x2: f64, y2: f64) -> Self {
        BBox { x1, y1, x2, y2 }
    }

    /// A box by its upper left corner and its size, as COCO files hold it.
    pub fn from_xywh(x: f64, y: f64, w: f64, h: f64) -> Self {
        BBox::new(x, y, x + w, y + h)
    }

    /// Width; negative when the corners are swapped.
    pub fn width(&self) -> f64 {
        self.x2 - self.x1
    }

    /// Height; negative when the corners are swapped.
    pub fn height(&self) -> f64 {
        self.y2 - self.y1
    }

    /// Width times height.
    pub fn area(&self) -> f64 {
        self.width() * self.height()
    }

    /// Whether all four coordinates are numbers.
    pub fn is_finite(&self) -> bool {
        [self.x1, self.y1, self.x2, self.y2].iter().all(|v| v.is_finite())
    }

    /// Area of the common part, 0 when there is none.
    pub fn intersection(&self, other: &BBox) -> f64 {
        let w = self.x2.min(other.x2) - self.x1.max(other.x1);
        let h = self.y2.min(other.y2) - self.y1.max(other.y1);
        w.max(0.0) * h.max(0.0)
    }

    /// Intersection over union, 0…1. The union is enlarged by 10⁻⁹, so that two empty boxes give 0 and not NaN.
    ///
    /// ```
    /// use tasks::detect::BBox;
    /// let a = BBox::new(0.0, 0.0, 2.0, 2.0);
    /// assert!((a.iou(&BBox::new(1.0, 0.0, 3.0, 2.0)) - 1.0 / 3.0).abs() < 1e-9);
    /// ```
    pub fn iou(&self, other: &BBox) -> f64 {
        let inter = self.intersection(other);
        inter / (self.area() + other.area() - inter + 1e-9)
    }
}

/// A decoded box before NMS: f32, as networks give it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Candidate {
    /// x1 y1 x2 y2.
    pub corners: [f32; 4],
    /// Index into the head's class names.
    pub class: usize,
    /// Confidence, 0…1.
    pub score: f32,
}

/// A final detection in picture pixels.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Detection {
    /// Index into the class names that the caller keeps.
    pub class: usize,
    /// Confidence, 0…1.
    pub score: f64,
    /// Where.
    pub bbox: BBox,
}

/// How an object of the ground truth enters the evaluation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Must be found.
    #[default]
    Counted,
    /// VOC's `difficult`: finding it neither helps nor hurts.
    Difficult,
    /// COCO's `iscrowd`: a region that may hide any number of detections; overlap is measured against the
    /// detection's own area.
    Crowd,
    /// COCO's `ignore` field, which pycocotools overwrites: counted in reference mode, ignored in fixed mode.
    Ignored,
}

/// One object of the ground truth.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Object {
    /// Index into the class names that the caller keeps.
    pub class: usize,
    /// Where.
    pub bbox: BBox,
    /// How it counts.
    pub status: Status,
    /// Area for COCO's small/medium/large, in square pixels: the segment's, where a file has one. `None` = the box's.
    pub area: Option<f64>,
    /// The annotation's id. It matters only because pycocotools takes id 0 for "not matched".
    pub id: Option<i64>,
}

impl Object {
    /// A counted object without further properties.
    pub fn new(class: usize, bbox: BBox) -> Self {
        Object {
            class,
            bbox,
            status: Status::Counted,
            area: None,
            id: None,
        }
    }
}

/// Where a picture lies inside the network's input: network = picture · scale + offset.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Placement {
    /// Horizontal and vertical scale.
    pub scale: [f32; 2],
    /// Left and top padding in network pixels.
    pub offset: [f32; 2],
    /// Width and height of the picture in pixels.
    pub size: [f32; 2],
}

impl Placement {
    /// The picture is the network's input.
    pub fn identity(width: usize, height: usize) -> Self {
        Placement {
            scale: [1.0; 2],
            offset: [0.0; 2],
            size: [width as f32, height as f32],
        }
    }

    /// Corners in network pixels to corners in picture pixels, clipped to the picture.
    pub fn to_picture(&self, corners: [f32; 4]) -> [f32; 4] {
        std::array::from_fn(|k| {
            let axis = k & 1;
            ((corners[k] - self.offset[axis]) / self.scale[axis]).clamp(0.0, self.size[axis])
        })
    }
}

/// Intersection over union in f32, step for step as the reference script computes it: NMS decides with it.
pub(crate) fn iou_f32(a: &[f32; 4], b: &[f32; 4]) -> f32 {
    let w = (a[2].min(b[2]) - a[0].max(b[0])).max(0.0);
    let h = (a[3].min(b[3]) - a[1].max(b[1])).max(0.0);
    let inter = w * h;
    inter / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - inter + 1e-9)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_boxes_do_not_make_nan() {
        let zero = BBox::default();
        assert_eq!(zero.iou(&zero), 0.0);
        assert_eq!(iou_f32(&[0.0; 4], &[0.0; 4]), 0.0);
    }

    #[test]
    fn placement_undoes_a_letterbox_and_clips() {
        let p = Placement {
            scale: [0.5, 0.5],
            offset: [0.0, 10.0],
            size: [100.0, 60.0],
        };
        assert_eq!(p.to_picture([5.0, 15.0, 25.0, 60.0]), [10.0, 10.0, 50.0, 60.0]);
        assert_eq!(p.to_picture([-3.0, 0.0, 900.0, 12.0]), [0.0, 0.0, 100.0, 4.0]);
    }
}
